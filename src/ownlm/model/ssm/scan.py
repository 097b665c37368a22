"""The linear recurrence h[t] = a[t] * h[t-1] + b[t], element by element, in three equal forms.

    sequential   T steps, the definition
    parallel     log2(T) steps over halves, O(T) work (Blelloch 1990, "Prefix sums and their applications")
    chunked      `parallel` inside chunks, one after the other: what a long text has memory for

Two steps (a, b) and then (a', b') are one step (a' a, a' b + b'): that is associative, so any bracketing gives the
same states (up to rounding). Real or complex values; autograd runs through all three.

Letters: B batch, T time; ... whatever the state is made of.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ownlm.errors import UsageError


def sequential(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """a and b [B, T, ...] (a may have B = 1), start [B, ...] or None for zero -> all states h [B, T, ...]."""
    _check(a, b)
    state = torch.zeros_like(b[:, 0]) if start is None else start
    states = []
    for t in range(b.shape[1]):
        state = a[:, t] * state + b[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


def parallel(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """As `sequential`."""
    _check(a, b)
    if start is not None:  # the start is one more thing that the first step adds
        b = torch.cat(((a[:, :1] * start[:, None] + b[:, :1]), b[:, 1:]), dim=1)
    return _scan(a, b)


def chunked(a: Tensor, b: Tensor, start: Tensor | None = None, chunk: int = 64) -> Tensor:
    """As `sequential`; chunk: steps that are scanned at once."""
    _check(a, b)
    states = []
    for first in range(0, b.shape[1], chunk):
        part = slice(first, first + chunk)
        states.append(parallel(a[:, part], b[:, part], start))
        start = states[-1][:, -1]
    return torch.cat(states, dim=1)


def _scan(a: Tensor, b: Tensor) -> Tensor:
    """Join each even step with the odd one after it, scan these T/2 steps, fill in the states between."""
    T = b.shape[1]
    if T == 1:
        return b
    pairs = T // 2 * 2
    a_even, a_odd = a[:, 0:pairs:2], a[:, 1:pairs:2]
    b_even, b_odd = b[:, 0:pairs:2], b[:, 1:pairs:2]
    odd = _scan(a_odd * a_even, a_odd * b_even + b_odd)  # states after steps 1, 3, 5, ...
    # The even state 2i follows the odd state 2i - 1; state 0 is b[0].
    later_even = a[:, 2::2] * odd[:, : (T - 1) // 2] + b[:, 2::2]
    even = torch.cat((b[:, :1], later_even), dim=1)
    between = torch.stack((even[:, : pairs // 2], odd), dim=2).flatten(1, 2)  # [B, pairs, ...]
    return between if pairs == T else torch.cat((between, even[:, -1:]), dim=1)


def _check(a: Tensor, b: Tensor) -> None:
    if b.ndim < 2 or b.shape[1] < 1 or a.ndim != b.ndim or a.shape[1] != b.shape[1]:
        raise UsageError("A scan needs factors and addends of one length, at least one step.",
                         f"a {list(a.shape)}, b {list(b.shape)}", "give both as [B, T, ...]")  # fmt: skip
