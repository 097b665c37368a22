"""The pieced cross-entropy against the one-line reference, loss and both gradients."""

import pytest
import torch

from ownlm.train.objectives import cross_entropy as objectives


def problem(num_tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_tokens, 24, generator=generator)
    weight = torch.randn(96, 24, generator=generator)
    targets = torch.randint(0, 96, (num_tokens,), generator=generator)
    targets[torch.rand(num_tokens, generator=generator) < 0.3] = objectives.IGNORE
    return hidden, weight, targets


def gradients(function, hidden, weight, targets, divisor):
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    loss = function(hidden, weight, targets, divisor)
    (loss * 3).backward()
    return loss.detach(), hidden.grad, weight.grad


@pytest.mark.parametrize("num_tokens", [1, 7, objectives.PIECE_TOKENS, 2 * objectives.PIECE_TOKENS + 5])
def test_pieces_equal_the_reference(num_tokens):
    hidden, weight, targets = problem(num_tokens, num_tokens)
    targets[0] = 5
    divisor = int((targets != objectives.IGNORE).sum())
    mine = gradients(objectives.cross_entropy, hidden, weight, targets, divisor)
    plain = gradients(objectives.reference, hidden, weight, targets, divisor)
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_ignored_tokens_have_no_gradient_and_all_ignored_gives_zero():
    hidden, weight, targets = problem(40)
    _, grad_hidden, _ = gradients(objectives.cross_entropy, hidden, weight, targets, 10)
    ignored = targets == objectives.IGNORE
    assert grad_hidden[ignored].abs().max() == 0 and grad_hidden[~ignored].abs().sum(1).min() > 0
    loss, _, grad_weight = gradients(
        objectives.cross_entropy, hidden, weight, torch.full_like(targets, objectives.IGNORE), 1
    )
    assert loss == 0 and grad_weight.abs().max() == 0


def test_bfloat16_autocast_stays_close():
    hidden, weight, targets = problem(64)
    plain = gradients(objectives.reference, hidden, weight, targets, 40)
    with torch.autocast("cpu", torch.bfloat16):
        mine = gradients(objectives.cross_entropy, hidden, weight, targets, 40)
    assert abs(mine[0] - plain[0]) / plain[0] < 0.01
    assert (mine[2] - plain[2]).norm() / plain[2].norm() < 0.02
    assert mine[1].dtype == mine[2].dtype == torch.float32


def test_without_gradients_the_loss_is_the_same():
    hidden, weight, targets = problem(30)
    with torch.no_grad():
        a = objectives.cross_entropy(hidden, weight, targets, 20)
    b, _, _ = gradients(objectives.cross_entropy, hidden, weight, targets, 20)
    assert float(a) == pytest.approx(float(b), rel=1e-5)


def test_a_target_that_is_all_but_impossible_has_a_finite_loss():
    hidden, weight, targets = problem(30)
    mine = gradients(objectives.cross_entropy, hidden * 50, weight, targets, 20)
    plain = gradients(objectives.reference, hidden * 50, weight, targets, 20)
    assert plain[0] > 120  # some probabilities are 0 in float32
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
