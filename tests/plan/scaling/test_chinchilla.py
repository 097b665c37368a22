"""The parametric fit finds the law behind made-up runs, says how sure it is, and is right about how sure it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ownlm.errors import DataError
from ownlm.plan.scaling import chinchilla, optimal
from ownlm.plan.scaling.chinchilla import NAMES, Point, fit, losses
from ownlm.plan.scaling.minimise import minimise

TRUTH = np.array([1.7, 400.0, 0.34, 410.0, 0.28])


def made_up(noise: float, seed: int, truth: np.ndarray = TRUTH) -> list[Point]:
    random = np.random.default_rng(seed)
    return [
        Point(n, d, float(losses(truth[None], n, d)[0] * np.exp(random.normal(0, noise))))
        for n, d in itertools.product(np.geomspace(1e7, 1e10, 6), np.geomspace(1e8, 1e11, 6))
    ]


@pytest.mark.parametrize("truth", [TRUTH, np.array([1.69, 406.4, 0.34, 410.7, 0.28]), np.array([0.5, 30.0, 0.22, 900.0, 0.45])])  # fmt: skip
def test_without_noise_the_law_itself_is_found(truth: np.ndarray) -> None:
    found = fit(made_up(0.0, 0, truth), samples=0).values()
    np.testing.assert_allclose([found[name] for name in NAMES], truth, rtol=1e-5)


def covered(worlds: int) -> int:
    """Of 5 intervals of 95 % per made-up world, how many hold the truth."""
    hits = 0
    for seed in range(worlds):
        intervals = fit(made_up(0.005, seed), samples=60).intervals()
        hits += sum(intervals[name][0] <= true <= intervals[name][1] for name, true in zip(NAMES, TRUTH, strict=True))  # fmt: skip
    return hits


def test_the_intervals_cover_the_truth() -> None:
    assert covered(3) >= 11, "of 15; a world's five share their luck"


@pytest.mark.slow
def test_the_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """150 intervals of 95 % from 30 worlds: a bootstrap over 36 runs is a little too sure, so at least 85 %."""
    assert 0.85 * 150 <= covered(30) <= 150


def test_intervals_grow_with_the_noise() -> None:
    wide, narrow = (fit(made_up(noise, 3), samples=40).intervals() for noise in (0.02, 0.001))
    for name in NAMES:
        assert wide[name][1] - wide[name][0] > 3 * (narrow[name][1] - narrow[name][0])


def test_one_wild_run_is_outvoted() -> None:
    runs = made_up(0.0, 0)
    runs[7] = Point(runs[7].parameters, runs[7].tokens, runs[7].loss * 1.5)
    found = fit(runs, samples=0).values()
    np.testing.assert_allclose([found[name] for name in NAMES], TRUTH, rtol=0.1)


def test_the_same_seed_gives_the_same_intervals() -> None:
    runs = made_up(0.01, 1)
    assert fit(runs, samples=20).intervals() == fit(runs, samples=20).intervals()
    assert fit(runs, samples=20).intervals() != fit(runs, samples=20, seed=1).intervals()


def test_repeated_tokens_count_for_what_they_are_worth() -> None:
    fresh = chinchilla.point(1e6, 4e6, 1e9, 3.0)
    repeated = chinchilla.point(1e6, 4e6, 1e5, 3.0)
    assert fresh.tokens == 4e6 and repeated.tokens < 0.45 * 4e6


@pytest.mark.parametrize("runs", [made_up(0, 0)[:5], [Point(1e6, d, 3.0) for d in range(1, 9)], [Point(n, 1e6, 3.0) for n in range(1, 9)]])  # fmt: skip
def test_too_little_to_fit_is_refused(runs: list[Point]) -> None:
    with pytest.raises(DataError, match="Too few runs"):
        fit(runs)


def test_a_loss_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="not positive"):
        fit([*made_up(0, 0), Point(1e6, 1e6, float("nan"))])


def test_the_gradient_is_that_of_the_objective() -> None:
    random = np.random.default_rng(0)
    n, d, target = random.normal(0, 2, (3, 9))
    weights = random.integers(0, 3, (4, 9)).astype(float)
    x = np.abs(random.normal(0.4, 0.2, (4, 5)))
    _, slope = chinchilla._objective(x, n, d, target, weights)
    for column in range(5):
        step = np.zeros(5)
        step[column] = 1e-6
        up, _ = chinchilla._objective(x + step, n, d, target, weights)
        down, _ = chinchilla._objective(x - step, n, d, target, weights)
        np.testing.assert_allclose(slope[:, column], (up - down) / 2e-6, rtol=1e-4, atol=1e-4)


def test_the_minimiser_goes_down_rosenbrocks_valley_from_everywhere() -> None:
    def rosenbrock(x: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = x.T
        value = (1 - a) ** 2 + 100 * (b - a**2) ** 2
        return value, np.stack([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)], 1)

    starts = np.random.default_rng(0).uniform(-2, 2, (30, 2))
    found, values = minimise(rosenbrock, starts)
    np.testing.assert_allclose(found, 1.0, atol=1e-4)
    assert values.max() < 1e-8


def test_the_fit_agrees_with_its_own_optimum() -> None:
    law = fit(made_up(0.0, 0), samples=0).law
    best = optimal.compute_optimal(law, 1e20)
    assert best.loss < min(optimal.loss(law, best.parameters * f, best.tokens / f) for f in (0.9, 1.1))
