"""Power laws: exponents found back, what is on the frontier, and Chinchilla's three ways on a made-up world."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ownlm.errors import DataError
from ownlm.plan.scaling import approaches, chinchilla, kaplan, predict, published
from ownlm.train.ladder.result import LadderRun

RUN = LadderRun("x", 1, 1, 1, 10**15, 1.0, 0.0, 1.0, 1.0, 2, 32, 1, 1.0)


def world(loss: object, sizes: np.ndarray, lengths: np.ndarray) -> list[LadderRun]:
    return [
        replace(RUN, name=f"{n:.0f}-{d:.0f}", parameters=int(n), non_embedding=int(n), tokens=int(d), loss=float(loss(int(n), int(d))))  # type: ignore[operator]
        for n, d in itertools.product(sizes, lengths)
    ]  # fmt: skip


def test_a_power_law_is_found_with_an_interval_that_holds_it() -> None:
    x = np.geomspace(1e3, 1e7, 9)
    exact = kaplan.power_law(x, (5e9 / x) ** 0.076)
    assert exact.exponent == pytest.approx(0.076) and exact(1e8) == pytest.approx((5e9 / 1e8) ** 0.076)
    noisy = kaplan.power_law(x, (5e9 / x) ** 0.076 * np.exp(np.random.default_rng(0).normal(0, 0.02, 9)))
    assert noisy.low < 0.076 < noisy.high and noisy.high - noisy.low > exact.high - exact.low
    with pytest.raises(DataError):
        kaplan.power_law(x[:2], x[:2])


def test_the_interval_is_that_of_textbook_regression() -> None:
    """Slope and its 95 % interval by hand for (0,0), (1,1), (2,1): slope 1/2, s^2 = 1/6, se = sqrt(1/12), t = 12.71."""
    found = kaplan.power_law(np.exp([0.0, 1.0, 2.0]), np.exp([0.0, -1.0, -1.0]))
    assert found.exponent == pytest.approx(0.5)
    assert found.high - found.exponent == pytest.approx(12.71 * (1 / 12) ** 0.5)


def test_the_joint_fit_finds_kaplans_exponents() -> None:
    def loss(n: float, d: float) -> float:
        alpha, beta = published.KAPLAN_N, published.KAPLAN_D
        return float(((8.8e13 / n) ** (alpha / beta) + 5.4e13 / d) ** beta)

    runs = world(loss, np.geomspace(1e5, 1e8, 5), np.geomspace(1e7, 1e10, 5))
    joint = kaplan.fit_joint(runs, samples=10)
    assert joint.alpha == pytest.approx(0.076, rel=1e-3) and joint.beta == pytest.approx(0.095, rel=1e-3)
    assert joint.loss(1e9, 1e11) == pytest.approx(loss(1e9, 1e11), rel=1e-4)


def test_the_frontier_has_no_run_that_a_cheaper_one_beats() -> None:
    runs = world(lambda n, d: 100 * n**-0.3 + 100 * d**-0.3, np.geomspace(1e5, 1e8, 4), np.geomspace(1e6, 1e9, 4))  # fmt: skip
    edge = kaplan.frontier(runs)
    assert 4 <= len(edge) < len(runs)
    for run in runs:
        assert run in edge or any(other.compute <= run.compute and other.loss <= run.loss for other in edge)


def test_what_the_runs_do_not_allow_is_said() -> None:
    runs = world(lambda n, d: 3.0 + 1 / n, np.array([1e5, 1e6]), np.array([1e6, 1e7]))
    found = kaplan.fit(runs, samples=5)
    assert found.by_size is None and found.joint is None
    assert {"size", "data", "joint"} <= found.reasons.keys()


def test_all_three_approaches_agree_where_the_law_is_chinchillas() -> None:
    law = published.CHINCHILLA
    truth = law.data_power / (law.model_power + law.data_power)
    runs = world(lambda n, d: law.floor + law.model_scale * n**-0.34 + law.data_scale * d**-0.28,
                 np.geomspace(1e7, 1e10, 10), np.geomspace(1e8, 1e12, 16))  # fmt: skip
    fitted = chinchilla.fit(predict.points(runs), samples=10)
    for approach in approaches.all_three(runs, fitted):
        assert approach.exponent == pytest.approx(truth, abs=0.05), approach.name


def test_an_approach_without_data_has_a_reason_and_no_number() -> None:
    runs = world(lambda n, d: 3 * n**-0.1, np.array([1e5, 1e6]), np.array([1e6, 1e7]))
    for approach in approaches.all_three(runs, None):
        assert approach.exponent is None and approach.reason
