"""Label smoothing and z-loss inside the fused loss, against torch's own formulas and the definitions by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import UsageError
from ownlm.train.objectives.causal import Causal
from ownlm.train.objectives.cross_entropy import IGNORE, PIECE_TOKENS, cross_entropy, reference


def problem(num_tokens, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_tokens, 24, generator=generator) * spread
    weight = torch.randn(96, 24, generator=generator)
    targets = torch.randint(0, 96, (num_tokens,), generator=generator)
    targets[torch.rand(num_tokens, generator=generator) < 0.3] = IGNORE
    targets[0] = 5
    return hidden, weight, targets


def gradients(function, hidden, weight, *rest):
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    loss = function(hidden, weight, *rest)
    (loss * 3).backward()
    return loss.detach(), hidden.grad, weight.grad


def by_definition(hidden, weight, targets, divisor, smoothing, z):
    """Of probabilities, in float64: cross-entropy with a smoothed target distribution, and squared log Z."""
    logits = (hidden.double() @ weight.double().t())[targets != IGNORE]
    wanted = F.one_hot(targets[targets != IGNORE], len(weight)) * (1 - smoothing) + smoothing / len(weight)
    total = logits.exp().sum(1).log()
    return ((-wanted * (logits - total[:, None])).sum() + z * (total**2).sum()) / divisor


@pytest.mark.parametrize("smoothing, z", [(0.1, 0.0), (0.0, 1e-2), (0.2, 1e-3), (0.9, 1.0)])
@pytest.mark.parametrize("num_tokens", [1, 2 * PIECE_TOKENS + 5])
def test_both_terms_and_their_gradients_are_those_of_the_definition(num_tokens, smoothing, z):
    hidden, weight, targets = problem(num_tokens, num_tokens)
    mine = gradients(cross_entropy, hidden, weight, targets, 7, smoothing, z)
    for other in (reference, by_definition):
        plain = gradients(other, hidden, weight, targets, 7, smoothing, z)
        for a, b in zip(mine, plain, strict=True):
            torch.testing.assert_close(a, b.float(), rtol=1e-4, atol=5e-5)
    without = gradients(cross_entropy, hidden, weight, targets, 7)
    assert (mine[1] - without[1]).norm() > 1e-3 * without[1].norm()


def test_torch_agrees_on_label_smoothing():
    hidden, weight, targets = problem(50)
    loss = F.cross_entropy(hidden @ weight.t(), targets, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(hidden, weight, targets, 1, 0.1), loss, rtol=1e-5, atol=0)


def test_far_out_logits_stay_finite():
    hidden, weight, targets = problem(30, spread=50.0)
    mine = gradients(cross_entropy, hidden, weight, targets, 20, 0.1, 1e-4)
    plain = gradients(reference, hidden, weight, targets, 20, 0.1, 1e-4)
    for a, b in zip(mine, plain, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast_stays_close():
    hidden, weight, targets = problem(64)
    plain = gradients(reference, hidden, weight, targets, 40, 0.1, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        mine = gradients(cross_entropy, hidden, weight, targets, 40, 0.1, 1e-3)
    assert abs(mine[0] - plain[0]) / plain[0] < 0.01
    assert (mine[2] - plain[2]).norm() / plain[2].norm() < 0.02


def test_z_loss_pulls_log_z_to_zero_and_smoothing_bounds_the_best_loss():
    logits = torch.full((1, 4), 3.0)
    hidden, weight = logits.requires_grad_(), torch.eye(4)
    cross_entropy(hidden, weight, torch.tensor([0]), 1, 0.0, 0.5).backward()
    log_z = 3 + math.log(4)
    expected = torch.full((1, 4), 0.25 * (1 + log_z)) - F.one_hot(torch.tensor([0]), 4)
    torch.testing.assert_close(hidden.grad, expected)
    sure = torch.tensor([[100.0, 0, 0, 0]])
    assert cross_entropy(sure, weight, torch.tensor([0]), 1, 0.1) == pytest.approx(0.1 * 0.75 * 100)


@pytest.mark.parametrize("terms", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"z_loss": -1e-4},
                                   {"z_loss": math.nan}])  # fmt: skip
def test_terms_out_of_range_are_refused(terms):
    with pytest.raises(UsageError, match="out of range"):
        Causal(**terms)


def test_the_objective_says_what_it_is():
    assert repr(Causal(0.1, 1e-4)) == "Causal(label_smoothing=0.1, z_loss=0.0001)"
