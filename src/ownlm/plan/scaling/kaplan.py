"""Kaplan's power laws: L(N), L(D), L(C), and both at once (Kaplan et al. 2020, arXiv:2001.08361).

    L(N) = (N_c / N)^alpha      at the longest training that several sizes share       equation 1.1
    L(D) = (D_c / D)^beta       of the largest model with several lengths              equation 1.2
    L(C) = (C_c / C)^gamma      on the frontier: no cheaper run is better              equation 1.3
    L(N, D) = [(N_c / N)^(alpha / beta) + D_c / D]^beta     of all runs                equation 1.5

N is without embeddings, C = 6 N D. The first two are read off where the other is finite, so they come out flatter than
the joint fit's exponents, which hold for the other going to infinity. None of them has a floor: a fit with one (E of
chinchilla.py) describes wide ranges better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import DataError
from ownlm.plan.law import effective_tokens
from ownlm.plan.scaling.minimise import Array, minimise
from ownlm.runtime.seed import generator
from ownlm.train.ladder.result import LadderRun

# Student's t at 0.975 by degrees of freedom; beyond the table the last.
_T = (
    12.71,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
    2.120,
)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = (scale / x)^exponent, by least squares in logarithms, with 95 % intervals of the exponent."""

    exponent: float
    low: float
    high: float
    log_scale: float
    num_points: int

    def __call__(self, x: float) -> float:
        return math.exp(self.exponent * (self.log_scale - math.log(x)))


@dataclass(frozen=True, slots=True)
class Joint:
    """Equation 1.5; alpha belongs to N, beta to D. Intervals are 95 % of a bootstrap over runs."""

    alpha: float
    beta: float
    log_parameters: float  # ln N_c
    log_tokens: float  # ln D_c
    intervals: dict[str, tuple[float, float]]

    def loss(self, non_embedding: float, tokens: float) -> float:
        size = self.alpha / self.beta * (self.log_parameters - math.log(non_embedding))
        data = self.log_tokens - math.log(tokens)
        return math.exp(self.beta * float(np.logaddexp(size, data)))


@dataclass(frozen=True, slots=True)
class KaplanFits:
    """None where the runs do not allow it; `reasons` says why."""

    by_size: PowerLaw | None
    by_data: PowerLaw | None
    by_compute: PowerLaw | None
    joint: Joint | None
    reasons: dict[str, str]


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Raises DataError with fewer than 3 points."""
    if len(x) < 3:
        raise DataError("Too few points for a power law.", f"{len(x)} points, 3 are needed", "run more of the ladder")  # fmt: skip
    across, up = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    centred = across - across.mean()
    slope = float(centred @ (up - up.mean()) / (centred @ centred))
    rest = up - up.mean() - slope * centred
    spread = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(centred @ centred))
    half = _T[min(len(x) - 3, len(_T) - 1)] * spread
    log_scale = float(across.mean() - up.mean() / slope) if slope else math.inf
    return PowerLaw(-slope, -slope - half, -slope + half, log_scale, len(x))


def fit(runs: Sequence[LadderRun], samples: int = 200, seed: int = 0) -> KaplanFits:
    """Every law that the runs allow."""
    reasons: dict[str, str] = {}
    laws: dict[str, PowerLaw | None] = {}
    chosen: dict[str, list[tuple[float, float]]] = {
        "size": [(r.non_embedding, r.loss) for r in same_length(runs)],
        "data": [(_worth(r), r.loss) for r in same_size(runs)],
        "compute": [(r.compute, r.loss) for r in frontier(runs)],
    }
    for name, points in chosen.items():
        laws[name] = power_law(*zip(*points, strict=True)) if len(points) >= 3 else None
        if len(points) < 3:
            reasons[name] = f"{len(points)} points, 3 are needed"
    joint = None
    if len(runs) >= 6 and len({r.non_embedding for r in runs}) > 1 and len({r.tokens for r in runs}) > 1:
        joint = fit_joint(runs, samples, seed)
    else:
        reasons["joint"] = f"{len(runs)} runs; 6 runs, 2 sizes and 2 lengths are the least"
    return KaplanFits(laws["size"], laws["data"], laws["compute"], joint, reasons)


def same_length(runs: Sequence[LadderRun]) -> list[LadderRun]:
    """Runs of the greatest length that at least three sizes share, smallest first."""
    for length in sorted({r.tokens for r in runs}, reverse=True):
        found = {r.non_embedding: r for r in runs if r.tokens == length}
        if len(found) >= 3:
            return [found[size] for size in sorted(found)]
    return []


def same_size(runs: Sequence[LadderRun]) -> list[LadderRun]:
    """Runs of the largest model that has at least three lengths, shortest first."""
    for size in sorted({r.non_embedding for r in runs}, reverse=True):
        found = {r.tokens: r for r in runs if r.non_embedding == size}
        if len(found) >= 3:
            return [found[length] for length in sorted(found)]
    return []


def frontier(runs: Sequence[LadderRun]) -> list[LadderRun]:
    """Runs that no cheaper or equally cheap run beats, cheapest first."""
    found: list[LadderRun] = []
    for run in sorted(runs, key=lambda r: (r.compute, r.loss)):
        if not found or run.loss < found[-1].loss:
            found.append(run)
    return found


def fit_joint(runs: Sequence[LadderRun], samples: int = 200, seed: int = 0) -> Joint:
    """Least squares in ln L. Raises DataError as `fit` of chinchilla.py does."""
    n = np.log([r.non_embedding for r in runs])
    d = np.log([_worth(r) for r in runs])
    target = np.log([r.loss for r in runs])
    centre = float(n.mean()), float(d.mean())
    random = generator(seed, "kaplan bootstrap")
    weights = np.vstack([np.ones((1, len(runs))), random.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=samples)])  # fmt: skip

    def function(x: Array, who: NDArray[np.int64]) -> tuple[Array, Array]:
        return _objective(x, n - centre[0], d - centre[1], target, weights[who])

    level = float(target.mean())
    starts = np.array([(level - x, a, level - y, b) for x in (0.2, 1.0) for y in (0.2, 1.0)
                       for a in (0.05, 0.2) for b in (0.05, 0.2, 0.5)])  # fmt: skip
    same = np.zeros(len(starts), dtype=np.int64)
    first, values = minimise(lambda x, who: function(x, same[who]), starts)
    best = first[int(values.argmin())]
    found, _ = minimise(function, np.tile(best, (samples + 1, 1)), gain=1e-6)
    found[0] = best
    rows = np.stack([found[:, 1], found[:, 3], found[:, 0] / found[:, 1] + centre[0], found[:, 2] / found[:, 3] + centre[1]], 1)  # fmt: skip
    alpha, beta, log_parameters, log_tokens = (float(value) for value in rows[0])
    intervals = {}
    if samples:
        low, high = np.quantile(rows[1:], [0.025, 0.975], axis=0)
        intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(("alpha", "beta"))}
    return Joint(alpha, beta, log_parameters, log_tokens, intervals)


def _objective(x: Array, n: Array, d: Array, target: Array, weights: Array) -> tuple[Array, Array]:
    """x [S, 4] = (alpha (ln N_c - centre), alpha, beta (ln D_c - centre), beta), weights [S, R]."""
    P, alpha, Q, beta = (x[:, i : i + 1] for i in range(4))  # [S,1]
    with np.errstate(all="ignore"):
        p, q = P - alpha * n, Q - beta * d  # [S,R]
        both = np.logaddexp(p / beta, q / beta)
        share = np.exp(p / beta - both)
        error = beta * both - target
        pull = 2 * weights * error
        by_beta = -(1 - share) * d + both - (share * p + (1 - share) * q) / beta
        slope = np.stack([(pull * share).sum(1), -(pull * share * n).sum(1), (pull * (1 - share)).sum(1), (pull * by_beta).sum(1)], 1)  # fmt: skip
        value = (weights * error**2).sum(1)
    outside = (x[:, 1] < 1e-3) | (x[:, 3] < 1e-3) | (x[:, 1] > 3) | (x[:, 3] > 3)
    return np.where(outside, np.inf, value), slope


def _worth(run: LadderRun) -> float:
    return effective_tokens(run.tokens, run.unique_tokens)
