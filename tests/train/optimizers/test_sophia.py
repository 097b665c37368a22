"""Sophia's three estimates of the Hessian's diagonal, where it is known."""

import pytest
import torch
from torch import nn
from walk import named, set_gradients

from ownlm.errors import UsageError
from ownlm.train.optimizers.sophia import Sophia, gauss_newton_bartlett, hutchinson


def test_hutchinson_finds_the_diagonal_of_a_quadratic():
    generator = torch.Generator().manual_seed(5)
    half = torch.randn(6, 6, generator=generator)
    hessian = half @ half.T
    weight = nn.Parameter(torch.randn(6, generator=generator))
    total = torch.zeros(6)
    for _ in range(1500):
        total += hutchinson(0.5 * weight @ hessian @ weight, [("w", weight)], generator, num_tokens=8)["w"]
    torch.testing.assert_close(total / 1500 * 8, hessian.diagonal(), rtol=0.15, atol=0.3)


def test_gauss_newton_bartlett_and_the_loops_own_gradient_find_it_for_a_softmax():
    """Logits are the weights: the Hessian of the mean loss is diag(p) - p p^T, whatever the labels."""
    N, generator = 64, torch.Generator().manual_seed(6)
    weight = nn.Parameter(torch.tensor([1.0, 0.0, -1.0, 0.5]))
    p = weight.detach().softmax(0)
    total = torch.zeros(4)
    for _ in range(
        1000
    ):  # labels drawn from the model; a loop whose text the model predicts well sees the same
        labels = torch.multinomial(p, N, replacement=True, generator=generator)
        loss = nn.functional.cross_entropy(weight.expand(N, 4), labels)
        (gradient,) = torch.autograd.grad(loss, weight)
        total += N * gauss_newton_bartlett({"w": gradient})["w"]
    torch.testing.assert_close(total / 1000, p - p * p, rtol=0.15, atol=0)


def test_given_curvature_is_the_only_one_used_and_a_missing_one_is_named():
    parameters = named((3,), (2,))
    optimizer = Sophia(
        parameters, curvature="given", betas=(0.0, 0.5), rho=1.0, num_tokens=2, weight_decay=0.0
    )
    before = parameters[0][1].detach().clone()
    optimizer.curve({"w0": torch.full((3,), 10.0), "w1": torch.full((2,), 10.0)})  # h = 5
    set_gradients(parameters, 0)
    gradient = parameters[0][1].grad.clone()
    optimizer.step(0.1)
    torch.testing.assert_close(parameters[0][1].detach(), before - 0.1 * (gradient / 10).clamp(-1, 1))
    assert torch.equal(optimizer.slots["w0"]["curvature"], torch.full((3,), 5.0))
    with pytest.raises(UsageError, match="w1"):
        optimizer.curve({"w0": torch.zeros(3)})
