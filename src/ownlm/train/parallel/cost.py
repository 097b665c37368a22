"""What a collective costs before it runs: messages, bytes and seconds, in the alpha-beta model. Torch-free.

    seconds = messages * alpha + bytes * beta        alpha: latency of a message, beta: seconds per byte

Both are counted on the busiest process, along its critical path: what it sends, as sending and receiving happen at
once. Sources: Thakur, Rabenseifner & Gropp 2005, "Optimization of collective communication operations in MPICH",
sections 3 and 4; Patarasuk & Yuan 2009 for the ring's 2(p-1)/p, which no algorithm beats.

Letters: p processes, n bytes of the whole tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ownlm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Network:
    """A link between two processes."""

    alpha: float
    """Seconds until the first byte of a message is there."""
    beta: float
    """Seconds per byte after it: 1 / bandwidth."""


NETWORKS = {  # order of magnitude, for plans; measure your own with `fit`
    "ethernet 10 Gbit/s": Network(30e-6, 8 / 10e9),
    "infiniband 400 Gbit/s": Network(3e-6, 8 / 400e9),
    "nvlink 450 GB/s": Network(2e-6, 1 / 450e9),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the busiest process."""

    messages: int  # one after the other
    num_bytes: float  # sent

    def seconds(self, network: Network) -> float:
        return self.messages * network.alpha + self.num_bytes * network.beta


def reduce_scatter(p: int, n: float) -> Cost:
    """Ring: p - 1 messages of n/p."""
    _check(p, n)
    return Cost(p - 1, (p - 1) * n / p)


def all_gather(p: int, n: float) -> Cost:
    """Ring: the same; n is the size of what every process has afterwards."""
    return reduce_scatter(p, n)


def ring_all_reduce(p: int, n: float) -> Cost:
    """Reduce-scatter, then all-gather: 2(p-1)/p of the tensor, nearly independent of p."""
    _check(p, n)
    return Cost(2 * (p - 1), 2 * (p - 1) * n / p)


def tree_all_reduce(p: int, n: float) -> Cost:
    """Up a binomial tree and down again: few messages, all of full size. The root sends ceil(log2 p) of them down and
    its farthest leaf waits for as many up."""
    _check(p, n)
    depth = math.ceil(math.log2(p))
    return Cost(2 * depth, 2 * depth * n)


def total_ring_bytes(p: int, n: float) -> float:
    """Sent by all processes together in a ring all-reduce."""
    return p * ring_all_reduce(p, n).num_bytes


def total_tree_bytes(p: int, n: float) -> float:
    """Sent by all processes together in a tree all-reduce: p - 1 edges, once up and once down."""
    _check(p, n)
    return 2 * (p - 1) * n


def crossover_bytes(p: int, network: Network) -> float:
    """Below so many bytes the tree's all-reduce is quicker than the ring's; 0 for p = 2, inf is impossible.

    Solves tree.seconds(n) = ring.seconds(n), both linear in n.
    """
    ring, tree = ring_all_reduce(p, 1.0), tree_all_reduce(p, 1.0)
    slope = (tree.num_bytes - ring.num_bytes) * network.beta
    return max(0.0, (ring.messages - tree.messages) * network.alpha / slope) if slope > 0 else 0.0


def fit(samples: list[tuple[int, float, float]]) -> Network:
    """(messages, bytes, seconds) of measured collectives -> alpha and beta by least squares, neither below 0.

    Raises UsageError when the samples do not tell the two apart (all of one size per message).
    """
    mm = sum(m * m for m, _, _ in samples)
    mb = sum(m * b for m, b, _ in samples)
    bb = sum(b * b for _, b, _ in samples)
    ms, bs = sum(m * s for m, _, s in samples), sum(b * s for _, b, s in samples)
    determinant = mm * bb - mb * mb
    if determinant <= 1e-12 * mm * bb:
        raise UsageError(
            "Latency and bandwidth cannot be told apart.",
            f"{len(samples)} measurements, all with the same bytes per message",
            "measure tensors of several sizes",
        )
    alpha, beta = (ms * bb - bs * mb) / determinant, (mm * bs - mb * ms) / determinant
    if alpha < 0:
        alpha, beta = 0.0, bs / bb
    if beta < 0:
        alpha, beta = ms / mm, 0.0
    return Network(alpha, beta)


def step_bytes(layout: str, p: int, parameters: int, weight_bytes: int = 4, gradient_bytes: int = 4,
               passes: int = 1) -> float:  # fmt: skip
    """Bytes a process sends in one training step (ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054, section 7).

    ddp: all-reduce of the gradients. zero1: reduce to each weight's owner, weights sent back: the same volume.
    zero2 gathers the weights and zero3 gathers them twice, in every one of the `passes` (pieces of a step).
    """
    weights, gradients = (p - 1) / p * parameters * weight_bytes, (p - 1) / p * parameters * gradient_bytes
    volume = {
        "ddp": 2 * gradients,
        "zero1": gradients + weights,
        "zero2": passes * (weights + gradients),
        "zero3": passes * (2 * weights + gradients),
    }
    if layout not in volume:
        raise UsageError("This layout is not known.", repr(layout), f"use one of {', '.join(volume)}")
    return volume[layout]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a process holds, activations not counted."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer


def memory(layout: str, p: int, parameters: int, state_bytes: int = 8, weight_bytes: int = 4,
           gradient_bytes: int = 4, gathered: int = 0) -> Memory:  # fmt: skip
    """Per process, at most (ZeRO, arXiv:1910.02054, figure 1); state_bytes: of the optimizer, per parameter (AdamW
    float32: 8, Muon: 4). In zero2 all weights stand gathered from forward to backward, beside the shards; in zero3
    `gathered` of them do at once (the embedding's group and a block or two; 0: count what stays between steps)."""
    divisors = {"ddp": (1, 1, 1), "zero1": (1, 1, p), "zero2": (p, p, p), "zero3": (p, p, p)}
    if layout not in divisors:
        raise UsageError("This layout is not known.", repr(layout), f"use one of {', '.join(divisors)}")
    standing = {"zero2": parameters, "zero3": gathered}.get(layout, 0) * weight_bytes
    w, g, s = divisors[layout]
    return Memory(
        parameters * weight_bytes / w + standing,
        parameters * gradient_bytes / g,
        parameters * state_bytes / s,
    )


def _check(p: int, n: float) -> None:
    if p < 1 or n < 0:
        raise UsageError("There is no such collective.", f"{p} processes, {n} bytes", "give p >= 1, n >= 0")
