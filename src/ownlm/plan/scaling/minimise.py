"""Minimise a smooth function of a few parameters from many starts at once: batched BFGS, in NumPy.

Hoffmann et al. 2022 run L-BFGS from a grid of starts. With five parameters the whole inverse Hessian is 25 numbers,
so we keep it (BFGS, Nocedal & Wright 2006, chapter 6.1), and move all starts and bootstrap samples in one array.

Letters: S starts, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]
"""(points [S', P], which of the S problems they belong to [S']) -> (values [S'], gradients [S', P])."""

_ARMIJO = 1e-4
_SHRINK = 0.5


def minimise(function: Function, starts: Array, max_steps: int = 300, tolerance: float = 1e-9,
             gain: float = 1e-13) -> tuple[Array, Array]:  # fmt: skip
    """(best points [S, P], their values [S]); each start goes its own way downhill until its gradient is below
    `tolerance`, or a step lowers its value by no more than the share `gain`. A start whose value is not finite stays where it is, with value inf."""
    x = starts.astype(np.float64).copy()  # [S,P]
    S, P = x.shape
    everyone = np.arange(S)
    value, slope = function(x, everyone)  # [S], [S,P]
    value = np.where(np.isfinite(value), value, np.inf)
    inverse = np.broadcast_to(np.eye(P), (S, P, P)).copy()  # [S,P,P]
    fresh = np.ones(S, dtype=bool)  # the inverse Hessian is still the identity
    alive = np.isfinite(value) & np.isfinite(slope).all(1)
    for _ in range(max_steps):
        alive &= np.abs(slope).max(1) > tolerance
        who = everyone[alive]
        if not len(who):
            break
        way = -np.einsum("spq,sq->sp", inverse[who], slope[who])  # [S',P]
        uphill = (way * slope[who]).sum(1) >= 0
        way[uphill] = -slope[who][uphill]
        length = np.linalg.norm(way, axis=1)
        first = fresh[who] | uphill
        way[first] *= np.minimum(1.0, 0.1 / np.maximum(length[first], 1e-300))[
            :, None
        ]  # a cautious first step
        moved, new_value, new_slope = _line_search(function, x, value, slope, way, who)
        step, change = way * moved[:, None], new_slope - slope[who]
        stuck = moved == 0
        restart = stuck & ~fresh[who]
        inverse[who[restart]], fresh[who[restart]] = np.eye(P), True  # once more, straight downhill
        alive[who[stuck & ~restart]] = False
        went = ~stuck
        _update(inverse, fresh, who[went], step[went], change[went])
        x[who[went]] += step[went]
        gained = value[who[went]] - new_value[went]
        value[who[went]], slope[who[went]] = new_value[went], new_slope[went]
        still = gained <= gain * (np.abs(value[who[went]]) + 1e-12)
        alive[who[went][still]] = False
    return x, value


def _line_search(function: Function, x: Array, value: Array, slope: Array, way: Array, who: NDArray[np.int64]
                 ) -> tuple[Array, Array, Array]:  # fmt: skip
    """Halve each step until the value falls enough: (lengths [S'] with 0 where none did, values, gradients)."""
    length = np.ones(len(who))
    moved = np.zeros(len(who))
    new_value, new_slope = value[who].copy(), slope[who].copy()
    descent = (way * slope[who]).sum(1)
    open_ = np.ones(len(who), dtype=bool)
    for _ in range(30):
        index = np.flatnonzero(open_)
        if not len(index):
            break
        found, gradient = function(x[who[index]] + length[index, None] * way[index], who[index])
        good = np.isfinite(found) & np.isfinite(gradient).all(1)
        good &= found <= value[who[index]] + _ARMIJO * length[index] * descent[index]
        taken = index[good]
        moved[taken], new_value[taken], new_slope[taken] = length[taken], found[good], gradient[good]
        open_[taken] = False
        length[index[~good]] *= _SHRINK
    return moved, new_value, new_slope


def _update(inverse: Array, fresh: NDArray[np.bool_], who: NDArray[np.int64], step: Array, change: Array) -> None:  # fmt: skip
    """H <- (I - r s y') H (I - r y s') + r s s', r = 1 / (y's), where the curvature y's is positive."""
    curvature = (step * change).sum(1)
    use = curvature > 1e-12 * np.linalg.norm(step, axis=1) * np.linalg.norm(change, axis=1)
    who, s, y, rho = who[use], step[use], change[use], 1.0 / curvature[use]
    first = fresh[who]
    inverse[who[first]] *= (1.0 / (rho[first] * (y[first] ** 2).sum(1)))[
        :, None, None
    ]  # ibid., equation 6.20
    fresh[who] = False
    left = np.eye(s.shape[1]) - rho[:, None, None] * s[:, :, None] * y[:, None, :]  # [S',P,P]
    inverse[who] = left @ inverse[who] @ left.transpose(0, 2, 1) + rho[:, None, None] * s[:, :, None] * s[:, None, :]  # fmt: skip
