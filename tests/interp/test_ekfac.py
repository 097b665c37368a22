"""EK-FAC: exact where its assumptions hold, close to conjugate gradients on a decoder, and the planted fact is first."""

import pytest
import torch
from facts import PLANTED, VOCAB, examples, trained
from torch import nn

from ownlm.errors import UsageError
from ownlm.interp import ekfac, influence
from ownlm.interp.datamodels import rank_correlation
from ownlm.interp.gradients import Examples, gradients
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder


def decoder() -> Decoder:
    model = Decoder(ModelConfig(VOCAB, 16, 32, 1, 1, 1, 16, 8), 0)
    model.load_state_dict(trained()[0][0].weights)
    return model


def test_the_planted_fact_ranks_first_and_scores_are_near_those_of_conjugate_gradients() -> None:
    train, query = examples()
    fitted = ekfac.fit(decoder(), train)
    scores = ekfac.influence(fitted, train, query)
    assert set(scores[0].argsort(descending=True)[:2].tolist()) == set(PLANTED)
    slow = influence.conjugate_gradients(fitted.trained, train, query, 0.1, steps=10)
    assert float(torch.corrcoef(torch.stack([scores[0], slow[0]]))[0, 1]) > 0.9


def test_eigenvalues_are_the_mean_squares_of_gradients_in_the_basis() -> None:
    """One linear layer, one position: against gradients made one by one from the same drawn targets."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 4, bias=False)
    model = nn.Sequential(layer)
    x = torch.randn(500, 1, 3)
    train = Examples(x, torch.zeros(500, 1, dtype=torch.int64))
    fitted = ekfac.fit(model, train, seed=3)
    found = fitted.factors["0.weight"]
    p = layer(x[:, 0]).softmax(1).detach()
    curve = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]  # [N,O,O]: expectation over the drawn targets
    turned = torch.einsum("ao,nab,bp->nop", found.outputs, curve, found.outputs).diagonal(dim1=1, dim2=2)
    expected = (turned[:, :, None] * (x[:, 0] @ found.inputs)[:, None, :] ** 2).mean(0)
    torch.testing.assert_close(found.eigenvalues, expected, rtol=0.35, atol=0.02)  # 500 draws
    torch.testing.assert_close(found.inputs.T @ found.inputs, torch.eye(3), atol=1e-5, rtol=0)
    assert layer.weight.grad is None and len(layer._forward_hooks) == 0


def test_much_damping_is_the_plain_product_of_gradients() -> None:
    train, query = examples()
    fitted = ekfac.fit(decoder(), train, only=lambda name: "feed_forward.down" in name)
    scores = ekfac.influence(fitted, train, query, damping=1e9)
    (wanted,) = gradients(fitted.trained, query)
    plain = torch.cat([wanted @ piece.T for piece in gradients(fitted.trained, train)], dim=1)
    assert rank_correlation(scores[0].numpy(), plain[0].numpy()) > 0.999


def test_a_layer_is_needed() -> None:
    with pytest.raises(UsageError, match="no layer"):
        ekfac.fit(decoder(), examples()[0], only=lambda name: False)
