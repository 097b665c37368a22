"""Chinchilla's three ways to the compute-optimal size, N_opt = k C^p (Hoffmann et al. 2022, section 3).

1. Per budget the best run: the lower envelope of loss over compute (section 3.1). They take it from the loss curves
   within runs; here the curves run through the finished runs of one size, because a curve cut short has not had its
   learning rate lowered.
2. IsoFLOP profiles (section 3.2): per budget a parabola through loss over ln N, and its lowest point. The losses at
   equal budgets are read off the same curves, between their points and never beyond.
3. The parametric fit (section 3.3), in closed form.

Where the runs do not reach, an approach is left out with its reason. C = 6 N D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.plan.law import effective_tokens
from ownlm.plan.scaling.chinchilla import ParametricFit
from ownlm.plan.scaling.kaplan import power_law
from ownlm.plan.scaling.minimise import Array
from ownlm.train.ladder.result import LadderRun

_BUDGETS = 24


@dataclass(frozen=True, slots=True)
class Approach:
    """N_opt grows as C^exponent; D_opt then as C^(1 - exponent). `reason` says why there is none."""

    name: str
    exponent: float | None
    low: float | None
    high: float | None
    points: tuple[tuple[float, float], ...]  # (C, N_opt) that it was fitted to
    reason: str = ""


def all_three(runs: Sequence[LadderRun], parametric: ParametricFit | None) -> list[Approach]:
    curves = _curves(runs)
    return [_envelope(curves), _profiles(curves), _closed_form(parametric)]


def _curves(runs: Sequence[LadderRun]) -> dict[int, tuple[Array, Array]]:
    """Size -> (ln C, ln L) of its runs by rising compute; sizes with one run are left out."""
    curves = {}
    for size in sorted({r.parameters for r in runs}):
        rows = sorted((6.0 * size * effective_tokens(r.tokens, r.unique_tokens), r.loss) for r in runs if r.parameters == size)  # fmt: skip
        if len(rows) > 1:
            compute, loss = np.log(np.array(rows)).T
            curves[size] = (compute, loss)
    return curves


def _budgets(curves: dict[int, tuple[Array, Array]]) -> Array:
    if not curves:
        return np.empty(0)
    return np.linspace(
        min(c[0] for c, _ in curves.values()), max(c[-1] for c, _ in curves.values()), _BUDGETS
    )


def _at(curves: dict[int, tuple[Array, Array]], budget: float) -> list[tuple[int, float]]:
    """(size, ln L) of every curve that reaches over this budget."""
    return [(size, float(np.interp(budget, c, loss))) for size, (c, loss) in curves.items() if c[0] <= budget <= c[-1]]  # fmt: skip


def _envelope(curves: dict[int, tuple[Array, Array]]) -> Approach:
    """Budgets whose best size is neither the smallest nor the largest in reach."""
    points = []
    for budget in _budgets(curves):
        there = sorted(_at(curves, budget))
        best = min(range(len(there)), key=lambda i: there[i][1]) if there else 0
        if 0 < best < len(there) - 1:
            points.append((float(np.exp(budget)), float(there[best][0])))
    return _fitted("1 envelope of runs", points, "the best size is at an edge of the ladder for most budgets")


def _profiles(curves: dict[int, tuple[Array, Array]]) -> Approach:
    points = []
    for budget in _budgets(curves):
        there = _at(curves, budget)
        if len(there) < 3:
            continue
        n, loss = np.log([size for size, _ in there]), np.array([value for _, value in there])
        bend, tilt, _ = np.polyfit(n - n.mean(), loss, 2)
        lowest = n.mean() - tilt / (2 * bend) if bend > 0 else np.inf
        if n.min() <= lowest <= n.max():
            points.append((float(np.exp(budget)), float(np.exp(lowest))))
    return _fitted("2 isoFLOP profiles", points, "no budget has three sizes around its best one")


def _fitted(name: str, points: list[tuple[float, float]], reason: str) -> Approach:
    if len(points) < 3 or len({size for _, size in points}) < 2:
        return Approach(name, None, None, None, tuple(points), f"{len(points)} usable budgets: {reason}")
    law = power_law(*zip(*points, strict=True))
    return Approach(name, -law.exponent, -law.high, -law.low, tuple(points))


def _closed_form(parametric: ParametricFit | None) -> Approach:
    if parametric is None:
        return Approach("3 parametric fit", None, None, None, (), "there is no parametric fit")
    law = parametric.law
    if law.model_power + law.data_power == 0:
        return Approach("3 parametric fit", None, None, None, (), "neither size nor data matter in the fit")
    exponent = law.data_power / (law.model_power + law.data_power)
    low, high = exponent, exponent
    if len(parametric.samples):
        a, b = parametric.samples[:, 2], parametric.samples[:, 4]
        low, high = (float(q) for q in np.quantile(b / np.maximum(a + b, 1e-12), [0.025, 0.975]))
    return Approach("3 parametric fit", exponent, low, high, ())
