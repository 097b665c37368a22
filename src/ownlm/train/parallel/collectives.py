"""Collectives written out on send and receive: ring and tree, with every byte counted.

    ring, p = 4, reduce-scatter        round 1       round 2       round 3
    process r sends piece              r             r - 1         r - 2        to r + 1, which adds it to its own
    afterwards process r holds the whole sum of piece r + 1; p - 1 more rounds pass the sums around

    tree, p = 5      0 ◄─ 1,  2 ◄─ 3      0 ◄─ 2      0 ◄─ 4      and the same edges back down

For reading, counting and comparing with cost.py; training uses torch.distributed's own, which overlap and know the
network. Patarasuk & Yuan 2009 (ring); Thakur et al. 2005 (binomial tree).

Letters: p processes, n entries of the tensor.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from ownlm.errors import UsageError


class Wire(Protocol):
    """How one process reaches the others."""

    rank: int
    num_processes: int

    def exchange(self, sent: Tensor | None, to: int, wanted: Tensor | None, source: int) -> None:
        """Send `sent` to process `to` while receiving into `wanted` from `source`; None: only the other half."""
        ...


class Counted:
    """A wire over torch.distributed (gloo or nccl) that counts what this process sends."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank, self.num_processes = dist.get_rank(group), dist.get_world_size(group)
        self.sent_bytes = self.sent_messages = 0

    def exchange(self, sent: Tensor | None, to: int, wanted: Tensor | None, source: int) -> None:
        pending = []
        if sent is not None:
            self.sent_bytes += sent.nbytes
            self.sent_messages += 1
            pending.append(dist.P2POp(dist.isend, sent.contiguous(), group=self.group, group_peer=to))
        if wanted is not None:
            pending.append(dist.P2POp(dist.irecv, wanted, group=self.group, group_peer=source))
        for work in dist.batch_isend_irecv(pending):
            work.wait()


def ring_reduce_scatter(tensor: Tensor, wire: Wire) -> Tensor:
    """[n] -> [n/p]: piece `rank` of the sum over the processes. Raises UsageError where p does not divide n."""
    pieces = [piece.clone() for piece in _pieces(tensor, wire.num_processes)]
    _reduce_around(pieces, wire, shift=-1)
    return pieces[wire.rank]


def ring_all_gather(piece: Tensor, wire: Wire) -> Tensor:
    """[n/p] of every process -> [n], in the order of ranks, on all of them."""
    p, r = wire.num_processes, wire.rank
    pieces = [torch.empty_like(piece) for _ in range(p)]
    pieces[r] = piece.clone()
    _pass_around(pieces, wire, shift=0)
    return torch.cat([each.flatten() for each in pieces])


def ring_all_reduce(tensor: Tensor, wire: Wire) -> Tensor:
    """The sum over the processes, in the shape of `tensor`; any n (the pieces are padded to one size)."""
    flat, p = tensor.flatten(), wire.num_processes
    padding = -len(flat) % p
    padded = torch.cat([flat, flat.new_zeros(padding)])
    pieces = [piece.clone() for piece in _pieces(padded, p)]
    _reduce_around(pieces, wire, shift=0)
    _pass_around(pieces, wire, shift=1)
    return torch.cat(pieces)[: len(flat)].view_as(tensor)


def tree_reduce(tensor: Tensor, wire: Wire) -> Tensor:
    """The sum on process 0 up a binomial tree; elsewhere the sum of what stands below."""
    total, other = tensor.clone(), torch.empty_like(tensor)
    span = 1
    while span < wire.num_processes:
        if wire.rank % (2 * span):
            wire.exchange(total, wire.rank - span, None, 0)
            break
        if wire.rank + span < wire.num_processes:
            wire.exchange(None, 0, other, wire.rank + span)
            total += other
        span *= 2
    return total


def tree_broadcast(tensor: Tensor, wire: Wire) -> Tensor:
    """Process 0's tensor on all, down the same tree."""
    result = tensor.clone()
    span = 1
    while span < wire.num_processes:
        span *= 2
    while span > 1:
        half = span // 2
        if wire.rank % span == half:
            wire.exchange(None, 0, result, wire.rank - half)
        elif wire.rank % span == 0 and wire.rank + half < wire.num_processes:
            wire.exchange(result, wire.rank + half, None, 0)
        span = half
    return result


def tree_all_reduce(tensor: Tensor, wire: Wire) -> Tensor:
    """The sum over the processes: up the tree, then down."""
    return tree_broadcast(tree_reduce(tensor, wire), wire)


def _reduce_around(pieces: list[Tensor], wire: Wire, shift: int) -> None:
    """p - 1 rounds; afterwards this process's piece (rank + 1 + shift) mod p is the whole sum."""
    p, r = wire.num_processes, wire.rank
    received = torch.empty_like(pieces[0])
    for turn in range(p - 1):
        leaving, coming = (r - turn + shift) % p, (r - turn - 1 + shift) % p
        wire.exchange(pieces[leaving], (r + 1) % p, received, (r - 1) % p)
        pieces[coming] += received


def _pass_around(pieces: list[Tensor], wire: Wire, shift: int) -> None:
    """p - 1 rounds, beginning with this process's piece (rank + shift) mod p; afterwards all have all."""
    p, r = wire.num_processes, wire.rank
    for turn in range(p - 1):
        leaving, coming = (r - turn + shift) % p, (r - turn - 1 + shift) % p
        wire.exchange(pieces[leaving], (r + 1) % p, pieces[coming], (r - 1) % p)


def _pieces(tensor: Tensor, p: int) -> tuple[Tensor, ...]:
    flat = tensor.flatten()
    if len(flat) % p:
        below = len(flat) // p * p
        raise UsageError(
            "A tensor cannot be cut into equal pieces.",
            f"{len(flat)} entries for {p} processes",
            f"give {below or p} or {below + p} entries",
        )
    return torch.split(flat, len(flat) // p) if len(flat) else (flat,) * p
