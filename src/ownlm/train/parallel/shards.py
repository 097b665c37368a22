"""A tensor cut along its first dimension over the processes of a group: to one process, and back.

n rows, p processes: ceil(n / p) rows each until they run out (torch.chunk, and so `fully_shard`)
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor

from ownlm.train.parallel.exchange import Group, device_of


def span(rows: int, place: int, size: int) -> tuple[int, int]:
    """Rows [start, stop) of the process at `place`."""
    each = -(-rows // size)
    return min(place * each, rows), min((place + 1) * each, rows)


def gather(locals_: list[Tensor], rows: list[int], owner: int, group: Group) -> list[Tensor] | None:
    """Several tensors of one dtype in one message: each with all its `rows` on `owner`; None elsewhere."""
    place, size = dist.get_rank(group), dist.get_world_size(group)
    steps = [-(-n // size) for n in rows]  # collectives want one size from every process
    device = device_of(group)
    flat = torch.cat([_padded(local, step).flatten() for local, step in zip(locals_, steps, strict=True)]).to(device)  # fmt: skip
    parts = [torch.empty_like(flat) for _ in range(size)] if place == owner else None
    dist.gather(flat, parts, group=group, group_dst=owner)
    if parts is None:
        return None
    found, at = [], 0
    for local, n, step in zip(locals_, rows, steps, strict=True):
        count = step * _entries(local)
        pieces = [part[at : at + count].view(step, *local.shape[1:]) for part in parts]
        found.append(torch.cat(pieces)[:n].to(local.device))
        at += count
    return found


def scatter(wholes: list[Tensor] | None, locals_: list[Tensor], rows: list[int], owner: int, group: Group) -> None:  # fmt: skip
    """The rows of `wholes`, which are on `owner` alone, into every process's `locals_`, in place."""
    size, device = dist.get_world_size(group), device_of(group)
    steps = [-(-n // size) for n in rows]
    counts = [step * _entries(local) for local, step in zip(locals_, steps, strict=True)]
    received = locals_[0].new_empty(sum(counts), device=device)
    parts = None
    if wholes is not None:
        cut = [
            torch.split(_padded(each, step * size), step) for each, step in zip(wholes, steps, strict=True)
        ]
        parts = [torch.cat([pieces[at].flatten() for pieces in cut]).to(device) for at in range(size)]
    dist.scatter(received, parts, group=group, group_src=owner)
    for local, new in zip(locals_, torch.split(received, counts), strict=True):
        local.copy_(new.view(-1, *local.shape[1:])[: len(local)])


def _entries(tensor: Tensor) -> int:
    """Of one row."""
    return math.prod(tensor.shape[1:])


def _padded(tensor: Tensor, rows: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros((rows - len(tensor), *tensor.shape[1:]))])
