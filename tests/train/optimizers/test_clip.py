"""Clipping against torch's own."""

import pytest
import torch
from torch import nn
from walk import named, set_gradients

from ownlm.train.optimizers.clip import clip_gradients, global_norm

SHAPES = (7, 5), (5,), (2, 3, 4)


def both():
    ours, theirs = named(*SHAPES), named(*SHAPES)
    for parameters in (ours, theirs):
        set_gradients(parameters, 0)
    return [w for _, w in ours], [w for _, w in theirs]


def same_gradients(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("largest", [0.5, 1.0, 100.0])
def test_clipping_scales_the_global_norm_as_torch_does(largest):
    ours, theirs = both()
    norm = clip_gradients(ours, largest)
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(theirs, largest)), rel=1e-6)
    same_gradients(ours, theirs)
    assert global_norm([w.grad for w in ours]) <= largest * (1 + 1e-6) or largest == 100.0


def test_values_are_cut_as_torch_does_and_then_the_norm_is_taken():
    ours, theirs = both()
    norm = clip_gradients(ours, None, value=0.3)
    nn.utils.clip_grad_value_(theirs, 0.3)
    same_gradients(ours, theirs)
    assert norm == pytest.approx(global_norm([w.grad for w in theirs]), rel=1e-6)
    ours, theirs = both()
    clip_gradients(ours, 1.0, value=0.3)
    nn.utils.clip_grad_value_(theirs, 0.3)
    nn.utils.clip_grad_norm_(theirs, 1.0)
    same_gradients(ours, theirs)


def test_what_is_short_enough_keeps_its_bits_and_weights_without_gradient_are_passed_by():
    ours, _ = both()
    before = [w.grad.clone() for w in ours]
    ours[1].grad = None
    clip_gradients(ours, 1e9, value=1e9)
    assert (
        torch.equal(ours[0].grad, before[0]) and torch.equal(ours[2].grad, before[2]) and ours[1].grad is None
    )
    assert clip_gradients(named((2, 2))[0][1:], 1.0) == 0.0


def test_what_is_not_finite_is_told_by_the_norm():
    ours, _ = both()
    ours[0].grad[0, 0] = float("nan")
    assert clip_gradients(ours, 1.0) != clip_gradients(ours, 1.0)


def test_a_norm_of_several_processes_decides_the_scale():
    ours, _ = both()
    before = ours[0].grad.clone()
    assert clip_gradients(ours, 1.0, norm_of=lambda gradients: 10.0) == 10.0
    torch.testing.assert_close(ours[0].grad, before / 10)
