"""Datamodels find who matters; TRAK foretells subsets better than chance; lasso is the optimum."""

import numpy as np
import pytest
import torch
from facts import NUM_TEXTS, PLANTED, examples, start, trained

from ownlm.errors import UsageError
from ownlm.interp import datamodels
from ownlm.interp.retrain import query_losses, retrain
from ownlm.interp.trak import trak


def test_lasso_is_where_no_direction_gains() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 2, (80, 10)).astype(float)
    y = 3 * x[:, 1] - 2 * x[:, 4] + 0.1 * random.normal(size=80) + 7
    w = datamodels.lasso(x, y, 0.05, rounds=1000)
    slope = (x - x.mean(0)).T @ ((y - y.mean()) - (x - x.mean(0)) @ w) / 80
    assert np.allclose(slope[w != 0], 0.05 * np.sign(w[w != 0]), atol=1e-4)  # the conditions of Karush, Kuhn and Tucker
    assert (np.abs(slope[w == 0]) <= 0.05 + 1e-6).all()
    assert set(np.flatnonzero(np.abs(w) > 0.5)) == {1, 4}


def test_rank_correlation_by_hand() -> None:
    assert datamodels.rank_correlation(np.array([1, 2, 3.0]), np.array([10, 20, 15.0])) == pytest.approx(0.5)
    assert datamodels.rank_correlation(np.array([1, 1, 2.0]), np.array([5, 5, 9.0])) == pytest.approx(1.0)
    assert datamodels.rank_correlation(np.ones(3), np.arange(3.0)) == 0.0


def test_subsets() -> None:
    masks = datamodels.subsets(10, 5, 0.3, seed=1)
    assert masks.shape == (5, 10) and (masks.sum(1) == 3).all() and len({row.tobytes() for row in masks}) > 1
    assert (masks == datamodels.subsets(10, 5, 0.3, seed=1)).all()
    with pytest.raises(UsageError):
        datamodels.subsets(10, 5, 1.5)


def test_datamodels_and_trak_on_retrained_models() -> None:
    train, query = examples()
    first = start(0)
    masks = datamodels.subsets(NUM_TEXTS, 90, 0.5)
    models = retrain([first.weights], first.logits, train, torch.from_numpy(masks), 40, 0.03)
    losses = query_losses(models, query).numpy()
    scores = datamodels.fit(masks[:60], losses[:60])
    assert set(scores[0].argsort()[::-1][:2]) == set(PLANTED)
    assert datamodels.datamodeling_score(scores, masks[60:], losses[60:]) > 0.5
    cheap = trak(trained()[0], train, query, width=128).numpy()
    assert datamodels.datamodeling_score(cheap, masks[60:], losses[60:]) > 0.3
    shuffled = np.random.default_rng(0).permuted(cheap, axis=1)
    assert abs(datamodels.datamodeling_score(shuffled, masks[60:], losses[60:])) < 0.4
