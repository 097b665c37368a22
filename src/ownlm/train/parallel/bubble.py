"""Pipeline schedules as plain lists of actions, and how much of the time they leave a process idle. Torch-free.

    GPipe, p = 3, m = 4                          1F1B (PipeDream-flush), p = 3, m = 4
    0: F0 F1 F2 F3 .  .  .  .  B0 B1 B2 B3       0: F0 F1 F2 .  .  B0 F3 B1 .  B2 .  B3
    1: .  F0 F1 F2 F3 .  .  B0 B1 B2 B3          1: .  F0 F1 .  B0 F2 B1 F3 B2 .  B3
    2: .  .  F0 F1 F2 F3 B0 B1 B2 B3             2: .  .  F0 B0 F1 B1 F2 B2 F3 B3

Both are idle for (p - 1) / (m + p - 1) of the time; 1F1B holds the activations of at most p micro-batches instead of m.
Interleaved: every process has v shorter stages (process r: stages r, r + p, r + 2p ...), which divides the idle time
by v and multiplies the messages by v. Sources: GPipe, Huang et al. 2018, arXiv:1811.06965; Narayanan et al. 2021,
"Efficient Large-Scale Language Model Training", arXiv:2104.04473, section 2.2.

Letters: p processes, m micro-batches, v stages per process ("chunks").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ownlm.errors import UsageError

Name = Literal["gpipe", "1f1b", "interleaved"]
NAMES: tuple[Name, ...] = ("gpipe", "1f1b", "interleaved")


@dataclass(frozen=True, slots=True)
class Action:
    """One pass of one micro-batch through one stage of a process."""

    kind: Literal["forward", "backward"]
    chunk: int  # 0 .. v - 1; the stage is chunk * p + rank
    micro: int  # 0 .. m - 1


def schedule(name: Name, p: int, m: int, v: int = 1) -> list[list[Action]]:
    """What each of the p processes does, in order. Raises UsageError for sizes that the schedule cannot have."""
    _check(name, p, m, v)
    if name == "gpipe":
        return [_gpipe(m) for _ in range(p)]
    if name == "1f1b":
        return [_one_forward_one_backward(p, m, rank) for rank in range(p)]
    return [_interleaved(p, m, v, rank) for rank in range(p)]


def _gpipe(m: int) -> list[Action]:
    """All forward, then all backward. (The paper goes backward from the last; from the first adds up the gradients in
    the order of a single process.)"""
    return [Action("forward", 0, n) for n in range(m)] + [Action("backward", 0, n) for n in range(m)]


def _one_forward_one_backward(p: int, m: int, rank: int) -> list[Action]:
    """Forward until the first gradient can be back, then one of each, then the rest backward."""
    ahead = min(m, p - 1 - rank)
    return _alternating(
        [Action("forward", 0, n) for n in range(m)], [Action("backward", 0, n) for n in range(m)], ahead
    )


def _interleaved(p: int, m: int, v: int, rank: int) -> list[Action]:
    """1F1B over groups of p micro-batches: each group goes through all v chunks before the next begins."""
    forward, backward = [], []
    for k in range(m * v):
        group, inside = divmod(k, p * v)
        chunk, micro = inside // p, group * p + inside % p
        forward.append(Action("forward", chunk, micro))
        backward.append(Action("backward", v - 1 - chunk, micro))
    return _alternating(forward, backward, min(m * v, 2 * (p - 1 - rank) + (v - 1) * p))


def _alternating(forward: list[Action], backward: list[Action], ahead: int) -> list[Action]:
    actions = forward[:ahead]
    for n in range(len(forward) - ahead):
        actions += [forward[ahead + n], backward[n]]
    return actions + backward[len(forward) - ahead :]


def bubble(p: int, m: int, v: int = 1) -> float:
    """Share of the time that a process is idle: ((p-1)/v) / (m + (p-1)/v)."""
    return (p - 1) / (v * m + p - 1)


@dataclass(frozen=True, slots=True)
class Simulated:
    """A schedule played through, passes and nothing else taking time."""

    seconds: float  # from the first forward to the last backward
    idle: float  # share of `seconds` in which a process waits, the mean over processes
    in_flight: tuple[int, ...]  # per process: the most forwards whose backward is still to come


def simulate(actions: Sequence[Sequence[Action]], v: int = 1, forward: float = 1.0, backward: float = 2.0) -> Simulated:  # fmt: skip
    """Play a schedule: a whole process's layers take `forward` and `backward` seconds per micro-batch, a chunk 1/v.

    Raises UsageError when the processes would wait for each other for ever.
    """
    p = len(actions)
    cost = {"forward": forward / v, "backward": backward / v}
    done: dict[tuple[str, int, int], float] = {}  # (kind, stage, micro) -> when
    clock, place, busy = [0.0] * p, [0] * p, [0.0] * p
    left = sum(len(each) for each in actions)
    while left:
        before = left
        for rank in range(p):
            while place[rank] < len(actions[rank]):
                action = actions[rank][place[rank]]
                needed = _needed(action, rank, p, v)
                if needed is not None and needed not in done:
                    break
                began = max(clock[rank], 0.0 if needed is None else done[needed])
                clock[rank] = began + cost[action.kind]
                busy[rank] += cost[action.kind]
                done[action.kind, action.chunk * p + rank, action.micro] = clock[rank]
                place[rank] += 1
                left -= 1
        if left == before:
            raise UsageError(
                "This schedule never ends.", f"{left} actions wait for each other", "reorder them"
            )
    whole = max(clock)
    return Simulated(whole, 1 - sum(busy) / p / whole, tuple(_most_in_flight(each) for each in actions))


def _needed(action: Action, rank: int, p: int, v: int) -> tuple[str, int, int] | None:
    """What must be finished before, as (kind, stage, micro)."""
    stage = action.chunk * p + rank
    if action.kind == "forward":
        return None if stage == 0 else ("forward", stage - 1, action.micro)
    return ("forward", stage, action.micro) if stage == p * v - 1 else ("backward", stage + 1, action.micro)


def _most_in_flight(actions: Sequence[Action]) -> int:
    now = most = 0
    for action in actions:
        now += 1 if action.kind == "forward" else -1
        most = max(most, now)
    return most


def _check(name: str, p: int, m: int, v: int) -> None:
    if name not in NAMES:
        raise UsageError("This pipeline schedule is not known.", repr(name), f"use one of {', '.join(NAMES)}")
    if min(p, m, v) < 1:
        raise UsageError(
            "A pipeline has positive sizes.", f"p = {p}, m = {m}, v = {v}", "give 1 or more of each"
        )
    if name != "interleaved" and v != 1:
        raise UsageError(
            "Only the interleaved schedule has several stages per process.",
            f"schedule = {name!r}, {v} stages per process",
            "use schedule='interleaved', or one stage per process",
        )
    if name == "interleaved" and m % p:
        below = m // p * p
        raise UsageError(
            "The interleaved schedule takes micro-batches in groups of one per process.",
            f"{m} micro-batches, {p} processes",
            f"make it {below or p} or {below + p} micro-batches (batch size, micro_tokens)",
        )
