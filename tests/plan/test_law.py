"""The loss law: its limits, its derivative against a numeric one, and that a fit finds what made the data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ownlm.errors import DataError
from ownlm.plan.law import LAW, R_DATA, Law, bytes_per_token, effective_tokens, fit


def test_fresh_tokens_count_fully_and_repeated_ones_saturate() -> None:
    assert effective_tokens(5e5, 1e6) == 5e5
    assert effective_tokens(1e6, 1e6) == 1e6
    assert effective_tokens(4e6, 1e6) == pytest.approx(4e6, rel=0.1), (
        "four passes are nearly as good as fresh"
    )
    assert effective_tokens(1e12, 1e6) == pytest.approx((1 + R_DATA) * 1e6)
    values = [effective_tokens(d, 1e6) for d in (1e6, 2e6, 8e6, 64e6)]
    assert values == sorted(values)


def test_optimal_parameters_minimize_the_loss_at_fixed_compute() -> None:
    tokens = 3e6
    size = LAW.optimal_parameters(tokens)

    def loss(factor: float) -> float:
        n, d = size * factor, tokens / factor
        return LAW.floor + LAW.model_scale * n**-LAW.model_power + LAW.data_scale * d**-LAW.data_power

    assert loss(1.0) < min(loss(1.02), loss(0.98))


def test_more_of_anything_never_hurts() -> None:
    for parameters, tokens in itertools.product((5e5, 5e6), (1e5, 1e6, 1e7)):
        here = LAW.loss(parameters, tokens, 3e6)
        assert LAW.loss(parameters * 2, tokens, 3e6) <= here
        assert LAW.loss(parameters, tokens * 2, 3e6) < here
        assert LAW.loss(parameters, tokens, 6e6) <= here


def test_a_fit_recovers_the_law_behind_the_runs() -> None:
    truth = Law(1.4, 50.0, 0.28, 500.0, 0.36, "truth")
    runs = []
    for parameters, tokens in itertools.product((5e5, 2e6, 8e6), (2e5, 1e6, 4e6)):
        value = truth.floor + truth.model_scale * parameters**-0.28 + truth.data_scale * tokens**-0.36
        runs.append((parameters, tokens, 1e9, value))
    found = fit(runs, "made up")
    assert (found.model_power, found.data_power) == (0.28, 0.36)
    assert found.floor == pytest.approx(1.4, rel=1e-3) and found.data_scale == pytest.approx(500, rel=1e-3)
    with pytest.raises(DataError):
        fit(runs[:5], "too few")


def test_a_fit_never_has_negative_constants() -> None:
    rng = np.random.default_rng(0)
    runs = [(float(n), float(d), 1e9, float(rng.uniform(2, 6))) for n, d in rng.uniform(1e5, 1e7, (12, 2))]
    found = fit(runs, "noise")
    assert min(found.floor, found.model_scale, found.data_scale) >= 0


def test_bytes_per_token_grow_with_the_vocabulary() -> None:
    values = [bytes_per_token(v) for v in (256, 512, 1000, 8192, 12000, 10**6)]
    assert values == sorted(values)
