"""Intervals against published and closed-form values."""

from __future__ import annotations

import numpy as np
import pytest

from ownlm.errors import DataError
from ownlm.evals.intervals import bootstrap_mean, ratio_bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_equals_newcombe(successes: int, count: int, low: float, high: float) -> None:
    found = wilson(successes, count)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.value == successes / count and found.count == count


def test_wilson_stderr_is_the_sample_one() -> None:
    values = np.array([1.0] * 7 + [0.0] * 3)
    assert wilson(7, 10).stderr == pytest.approx(values.std(ddof=1) / np.sqrt(10))


def test_bootstrap_is_near_the_normal_interval_and_repeatable() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05)
    assert found.stderr == pytest.approx(half / 1.96, rel=0.1)
    assert bootstrap_mean(values) == found


def test_ratio_draws_numerator_and_denominator_together() -> None:
    sizes = np.random.default_rng(1).uniform(1, 100, 50)
    found = ratio_bootstrap(3 * sizes, sizes)
    assert (
        found.value == pytest.approx(3) and found.low == pytest.approx(3) and found.high == pytest.approx(3)
    )


def test_nothing_to_average() -> None:
    with pytest.raises(DataError):
        wilson(0, 0)
    with pytest.raises(DataError):
        bootstrap_mean(np.array([]))
