"""Datamodels find who matters; TRAK foretells subsets better than chance; lasso is the optimum."""

import numpy as np
import pytest
import torch
from facts import NUM_TEXTS, PLANTED, examples, start, trained

from ownlm.errors import UsageError
from ownlm.interp import datamodels, influence
from ownlm.interp.gradients import Examples
from ownlm.interp.retrain import query_losses, retrain
from ownlm.interp.trak import trak
from ownlm.train.objectives.cross_entropy import IGNORE


def test_lasso_is_where_no_direction_gains() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 2, (80, 10)).astype(float)
    y = 3 * x[:, 1] - 2 * x[:, 4] + 0.1 * random.normal(size=80) + 7
    w = datamodels.lasso(x, y, 0.05, rounds=1000)
    slope = (x - x.mean(0)).T @ ((y - y.mean()) - (x - x.mean(0)) @ w) / 80
    assert np.allclose(
        slope[w != 0], 0.05 * np.sign(w[w != 0]), atol=1e-4
    )  # the conditions of Karush, Kuhn and Tucker
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


@pytest.mark.slow
def test_datamodels_and_the_cheap_methods_foretell_retrained_models() -> None:
    """LDS over six facts beside the planted one; chance is 0 with a deviation of about 0.07."""
    train, query = examples()
    numbers = [PLANTED[0], *(int(n) for n in np.unique(train.inputs[:, 2], return_index=True)[1][:6])]
    only_number = train.targets[numbers].clone()
    only_number[:, :-1] = IGNORE
    query = Examples(train.inputs[numbers], only_number)
    first = start(0)
    masks = datamodels.subsets(NUM_TEXTS, 100, 0.5)
    models = retrain([first.weights], first.logits, train, torch.from_numpy(masks), 30, 0.02)
    losses = query_losses(models, query).numpy()
    scores = datamodels.fit(masks[:60], losses[:60])
    assert set(scores[0].argsort()[::-1][:2]) == set(PLANTED)
    halves = torch.from_numpy(datamodels.subsets(NUM_TEXTS, 8, 0.5, seed=5))
    ensemble = retrain([start(n).weights for n in range(8)], first.logits, train, halves, 30, 0.02)
    found = {
        "datamodels": scores,
        "trak": trak(ensemble, train, query, width=128).numpy(),
        "influence": influence.conjugate_gradients(trained()[0][0], train, query, 0.1, steps=10).numpy(),
    }
    lds = {name: datamodels.datamodeling_score(each, masks[60:], losses[60:]) for name, each in found.items()}
    assert min(lds.values()) > 0.4, lds
    shuffled = np.random.default_rng(0).permuted(found["influence"], axis=1)
    assert abs(datamodels.datamodeling_score(shuffled, masks[60:], losses[60:])) < 0.25


def test_datamodels_find_who_lowers_a_loss_that_is_a_sum() -> None:
    random = np.random.default_rng(0)
    masks = datamodels.subsets(30, 120, 0.5, seed=2)
    truth = np.zeros((2, 30))
    truth[0, [3, 8]], truth[1, 20] = (2.0, 1.0), -1.5
    losses = 5 - masks @ truth.T + 0.2 * random.normal(size=(120, 2))
    scores = datamodels.fit(masks[:80], losses[:80])
    assert np.abs(scores - truth).max() < 0.3
    assert datamodels.datamodeling_score(scores, masks[80:], losses[80:]) > 0.8
    assert datamodels.datamodeling_score(-scores, masks[80:], losses[80:]) < -0.8
    with pytest.raises(UsageError, match="at least 10"):
        datamodels.fit(masks[:9], losses[:9])
