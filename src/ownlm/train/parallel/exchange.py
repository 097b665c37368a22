"""Small things that all processes of a group tell each other: numbers, and facts as JSON. Never a pickled object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from ownlm.errors import OwnlmError, from_row, to_row

Group = dist.ProcessGroup | None
T = TypeVar("T")


def device_of(group: Group) -> torch.device:
    """Where a tensor must lie that this group exchanges."""
    cuda = "nccl" in dist.get_backend(group)
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def total(value: float, group: Group = None) -> float:
    """The sum over the processes, in float64."""
    number = torch.tensor(value, dtype=torch.float64, device=device_of(group))
    dist.all_reduce(number, group=group)
    return float(number)


def gather_facts(facts: Any, group: Group = None) -> list[Any]:
    """Every process's JSON value, in the order of ranks, on all of them."""
    device = device_of(group)
    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8).to(device)
    p = dist.get_world_size(group)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(p)]
    dist.all_gather(lengths, torch.tensor([len(text)], device=device), group=group)
    longest = max(int(length) for length in lengths)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(text)] = text
    texts = [torch.empty_like(padded) for _ in range(p)]
    dist.all_gather(texts, padded, group=group)
    return [
        json.loads(bytes(each[: int(length)].cpu().numpy())) for each, length in zip(texts, lengths, strict=True)
    ]  # fmt: skip


def together(work: Callable[[], T], group: Group = None) -> tuple[T, list[Any]]:
    """Do `work` on every process; (its result, the results of all). Its results must be JSON values.

    Where one process fails with an OwnlmError all raise it, so none waits for one that has given up.
    """
    result, error = None, None
    try:
        result = work()
    except OwnlmError as caught:
        error = caught
    told = gather_facts({"error": None if error is None else to_row(error), "result": result}, group)
    if error is not None:
        raise error
    for each in told:
        if each["error"] is not None:
            raise from_row(each["error"])
    return result, [each["result"] for each in told]  # type: ignore[return-value]
