"""How well scores rank two classes: AUC with its interval, precision and recall at a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Area:
    """Area under the ROC curve with a 95 % interval (DeLong, DeLong and Clarke-Pearson 1988), cut to 0..1."""

    auc: float
    low: float
    high: float


def area(positive: np.ndarray, negative: np.ndarray) -> Area:
    """P(a positive scores above a negative), ties half. Needs two of each for the interval, else it is 0..1."""
    m, n = len(positive), len(negative)
    if not m or not n:
        return Area(float("nan"), 0.0, 1.0)
    below = _share_below(np.sort(negative), positive)
    above = 1.0 - _share_below(np.sort(positive), negative)
    auc = float(below.mean())
    if m < 2 or n < 2:
        return Area(auc, 0.0, 1.0)
    if auc in (0.0, 1.0):  # no spread to estimate from: the rule of three on the smaller class
        return Area(auc, max(auc - 3 / min(m, n), 0.0), min(auc + 3 / min(m, n), 1.0))
    error = 1.96 * float(np.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n))
    return Area(auc, max(auc - error, 0.0), min(auc + error, 1.0))


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value, the share of `ordered` below it, equal ones counting half."""
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    share: np.ndarray = (left + right) / (2 * len(ordered))
    return share


def precision_recall(positive: np.ndarray, negative: np.ndarray, threshold: float) -> tuple[float, float]:
    """Of those at or above the threshold, how many are positive (0.0 for none); of the positive, how many are there."""
    hits, false = int(np.count_nonzero(positive >= threshold)), int(np.count_nonzero(negative >= threshold))
    return hits / max(hits + false, 1), hits / max(len(positive), 1)
