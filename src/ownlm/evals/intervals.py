"""95 % intervals, so that no score stands alone. Standard formulas, NumPy only.

`wilson`: for a share of successes (Wilson 1927, equation 6). `bootstrap_mean`: percentile bootstrap of a mean
(Efron 1979). `ratio_bootstrap`: of a ratio of sums, for bits per byte, where the unit that is drawn is a document.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ownlm.errors import DataError
from ownlm.runtime.seed import generator

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval and standard error, and how many observations are behind it."""

    value: float
    low: float
    high: float
    stderr: float
    count: int
    method: str


def wilson(successes: float, count: int, z: float = Z95) -> Interval:
    """Wilson score interval of successes/count; raises DataError for count 0."""
    if count <= 0:
        raise DataError(
            "There is nothing to average.", "0 observations", "check that the question set is not empty"
        )
    p = successes / count
    scale = 1 + z * z / count
    centre = (p + z * z / (2 * count)) / scale
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / scale
    # sample standard error as lm-evaluation-harness states it for 0/1 metrics
    stderr = math.sqrt(p * (1 - p) / (count - 1)) if count > 1 else 0.0
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half), stderr, count, "wilson")


def bootstrap_mean(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean of float [n]."""
    return ratio_bootstrap(np.asarray(values, dtype=np.float64), np.ones(len(values)), resamples, seed)


def ratio_bootstrap(
    numerators: np.ndarray, denominators: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of Σ numerators / Σ denominators; both float [n], drawn together."""
    count = len(numerators)
    if count == 0:
        raise DataError("There is nothing to average.", "0 observations", "check that the set is not empty")
    rng = generator(seed, "evals", "bootstrap")
    ratios = np.empty(resamples)
    for index in range(resamples):
        drawn = rng.integers(0, count, count)
        ratios[index] = numerators[drawn].sum() / denominators[drawn].sum()
    low, high = np.quantile(ratios, [0.025, 0.975])
    value = float(numerators.sum() / denominators.sum())
    return Interval(value, float(low), float(high), float(ratios.std(ddof=1)), count, "bootstrap")
