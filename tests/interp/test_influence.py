"""Influence against leaving one out; the planted fact ranks first by every method."""

import numpy as np
import pytest
import torch
from facts import PLANTED, examples, trained
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.interp import gradients as g
from ownlm.interp import influence
from ownlm.interp.datamodels import rank_correlation
from ownlm.interp.gradients import Examples, Trained
from ownlm.interp.trak import trak

DECAY = 0.02


def newton(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Two-class logistic regression by Newton's method in float64, as w [2F]; an oracle that shares no code."""
    N, F = x.shape
    w = np.zeros((2, F))
    for _ in range(30):
        scores = x @ w.T
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        slope = np.einsum("n,nc,nf->cf", weight, p - np.eye(2)[y], x) / N + DECAY * w
        curve = np.einsum("nc,cd->ncd", p, np.eye(2)) - np.einsum("nc,nd->ncd", p, p)
        hessian = np.einsum("n,ncd,nf,ng->cfdg", weight, curve, x, x).reshape(2 * F, 2 * F) / N
        w = w - np.linalg.solve(hessian + DECAY * np.eye(2 * F), slope.ravel()).reshape(2, F)
    return w


@pytest.fixture(scope="module")
def logistic() -> tuple[Trained, Examples, Examples, np.ndarray]:
    """(model, train, query, change [Q, N] of the query's losses when the example is really left out)."""
    random = np.random.default_rng(1)
    x = np.c_[random.normal(size=(70, 4)), np.ones(70)]
    y = (x[:, 0] - x[:, 1] + random.normal(size=70) > 0).astype(int)
    y[:5] = 1 - y[:5]
    train, query = (x[:60], y[:60]), (x[60:], y[60:])

    def loss(w: np.ndarray) -> np.ndarray:
        scores = query[0] @ w.T
        return np.log(np.exp(scores).sum(1)) - scores[np.arange(10), query[1]]

    w = newton(*train, np.ones(60))
    change = np.stack([loss(newton(*train, 1.0 - np.eye(60)[n])) - loss(w) for n in range(60)], axis=1)
    model = Trained({"w": torch.tensor(w, dtype=torch.float32)}, lambda given, x: (given["w"] @ x)[None])
    pair = [
        Examples(torch.tensor(a, dtype=torch.float32), torch.tensor(b)[:, None]) for a, b in (train, query)
    ]
    return model, pair[0], pair[1], change


def correlation(a: Tensor, b: np.ndarray) -> float:
    return float(np.corrcoef(a.numpy().ravel(), b.ravel())[0, 1])


def test_exact_influence_foretells_leaving_one_out(logistic: tuple) -> None:
    model, train, query, change = logistic
    scores = influence.exact(model, train, query, damping=DECAY)
    assert scores.shape == (10, 60)
    assert correlation(scores, change) >= 0.95
    size = float((scores.numpy() * change).sum() / (change**2).sum())
    assert 0.8 < size < 1.2  # in nats, not only in order


def test_conjugate_gradients_and_lissa_are_the_exact_inverse(logistic: tuple) -> None:
    model, train, query, _ = logistic
    scores = influence.exact(model, train, query, damping=DECAY)
    for curvature in ("hessian", "gauss-newton"):
        found = influence.conjugate_gradients(model, train, query, DECAY, curvature)  # type: ignore[arg-type]
        torch.testing.assert_close(found, scores, rtol=1e-2, atol=1e-5)
    few = Examples(query.inputs[:2], query.targets[:2])
    found = influence.lissa(model, train, few, DECAY, steps=200, batch=60)
    torch.testing.assert_close(found, scores[:2], rtol=3e-2, atol=1e-4)
    with pytest.raises(UsageError, match="raise scale"):
        influence.lissa(model, train, few, DECAY, scale=0.05, steps=30, batch=60)


def test_gradients_are_those_of_autograd_one_by_one() -> None:
    model, (train, _) = trained()[0][0], examples()
    piece = Examples(train.inputs[:3], train.targets[:3])
    (found,) = g.gradients(model, piece)
    for row in range(3):
        weights = {name: weight.clone().requires_grad_() for name, weight in model.weights.items()}
        loss = g.loss_of(model.logits(weights, piece.inputs[row]), piece.targets[row])
        torch.testing.assert_close(found[row], g.flat(dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))))  # fmt: skip


def test_margin_is_the_log_odds_of_the_target() -> None:
    logits, targets = torch.randn(3, 5), torch.tensor([1, -100, 4])
    p = logits.softmax(1)
    expected = sum(torch.log(p[t, c] / (1 - p[t, c])) for t, c in ((0, 1), (2, 4)))
    torch.testing.assert_close(g.margin_of(logits, targets), expected)


def test_gauss_newton_of_a_decoder_is_symmetric_and_never_negative() -> None:
    model, (train, _) = trained()[0][0], examples()
    random = torch.Generator().manual_seed(0)
    u, v = (torch.randn(model.num_weights(), generator=random) for _ in range(2))
    cu, cv = (g.curvature_product(model, train, each, "gauss-newton") for each in (u, v))
    assert float(u.dot(cu)) > 0 and float(v.dot(cv)) > 0
    assert float(u.dot(cv)) == pytest.approx(float(v.dot(cu)), rel=1e-3, abs=1e-4)


def methods() -> dict[str, Tensor]:
    (models, checkpoints), (train, query) = trained(), examples()
    return {
        "gradients": influence.tracin(models[:1], [1.0], train, query),
        "tracin": influence.tracin(checkpoints, [0.1, 0.1, 0.1], train, query),
        "conjugate gradients": influence.conjugate_gradients(models[0], train, query, 0.01, steps=15),
        "lissa": influence.lissa(models[0], train, query, 0.1, steps=25),
        "trak": trak(models, train, query, width=128),
    }


def test_the_planted_fact_ranks_first_by_every_method() -> None:
    for name, scores in methods().items():
        assert set(scores[0].argsort(descending=True)[:2].tolist()) == set(PLANTED), name
        others = [n for n in range(60) if n not in PLANTED]
        assert float(scores[0, list(PLANTED)].min()) > float(scores[0, others].max()), name


def test_trak_does_not_depend_on_how_much_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (models, _), (train, query) = trained(), examples()
    first = trak(models[:1], train, query, width=64)
    assert torch.equal(first, trak(models[:1], train, query, width=64))
    monkeypatch.setattr(g, "PIECE", 7)
    assert rank_correlation(first[0].numpy(), trak(models[:1], train, query, width=64)[0].numpy()) > 0.999


def test_mistakes_are_named() -> None:
    (models, _), (train, query) = trained(), examples()
    with pytest.raises(UsageError, match="at least one model"):
        trak([], train, query)
    with pytest.raises(UsageError, match="learning rate"):
        influence.tracin(models[:1], [], train, query)
    with pytest.raises(UsageError, match="No weight"):
        g.of_module(torch.nn.Linear(2, 2), only=lambda name: False)
