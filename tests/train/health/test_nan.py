"""The first number that is not finite is named: weight, module, operation, forward or backward, step."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
import world
from torch import nn

from ownlm.model.hooks import hooked
from ownlm.train.health.nan import OUTSIDE, locate
from ownlm.train.loop import train


def compute(model, batch=None):
    batch = batch or world.batches()(0)

    def loss():
        logits = model(batch.inputs)
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())

    return loss


def test_a_sound_model_has_none_and_is_left_as_it_was():
    model = world.model()
    model.embedding.weight.grad = torch.ones_like(model.embedding.weight)
    state = torch.get_rng_state()
    assert locate(model, compute(model)) is None
    assert torch.equal(model.embedding.weight.grad, torch.ones_like(model.embedding.weight))
    assert model.norm.weight.grad is None and torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_weight_is_named_before_anything_runs():
    model = world.model()
    model.blocks[1].mixer.k.weight.data[0, :3] = float("inf")
    found = locate(model, lambda: pytest.fail("not needed"))
    assert (found.phase, found.module, found.count) == ("weights", "blocks.1.mixer.k.weight", 3)


@pytest.mark.parametrize(
    "point, inject, operation, what",
    [
        ("blocks.1.feed_forward.up", lambda x: (x - x) / (x - x), "aten::div.Tensor", "NaN"),
        ("blocks.0.mixer.q", lambda x: (x * 0 - 1).log(), "aten::log", "NaN"),
        ("blocks.1.feed_forward.down", lambda x: 1 / (x * 0), "aten::reciprocal", "infinity"),
        ("blocks.0.mixer_norm", lambda x: x * float("nan"), "aten::mul.Tensor", "NaN"),
    ],
)
def test_the_forward_operation_is_named(point, inject, operation, what):
    model = world.model()
    with hooked(model, {point: inject}):
        found = locate(model, compute(model))
    assert (found.phase, found.module, found.operation, found.what) == ("forward", point, operation, what)


def test_the_backward_operation_is_named():
    """sqrt has a finite value and an infinite slope at 0."""
    model = world.model()
    with hooked(model, {"blocks.1.feed_forward.gate": lambda x: x + (x - x).sqrt()}):
        assert torch.isfinite(compute(model)())
        found = locate(model, compute(model))
    assert (found.phase, found.module) == ("backward", "blocks.1.feed_forward.gate")
    assert found.operation == "aten::div.Tensor"


def test_masks_are_nobodys_fault_and_what_is_outside_says_so():
    class Masked(nn.Module):
        def forward(self, x):
            hidden = x.masked_fill(x > 0, float("-inf"))
            return torch.where(x > 0, x, float("-inf")).softmax(-1) + hidden.softmax(-1)

    model = nn.Sequential(nn.Linear(8, 8), Masked())
    x = torch.linspace(-1, 1, 32).view(4, 8)
    assert locate(model, lambda: model(x).square().sum()) is None
    found = locate(model, lambda: (model(x).square().sum() * 0).log() * 0)
    assert found.module == OUTSIDE and found.operation == "aten::log" and found.what == "infinity"


@pytest.mark.parametrize("precision", ["float32", "float8"])
def test_in_a_run_the_step_the_layer_and_the_operation_are_told_and_the_run_goes_on(tmp_path, precision):
    """A layer that fails at one step's batch, once more when it is looked at, and never again."""
    model, told = world.model(), []
    bad = world.batches()(5).inputs

    def watch(module, args):
        model.now = args[0]

    model.embedding.register_forward_pre_hook(watch)
    inject = {
        "blocks.1.feed_forward.up": lambda x: x.sub(x).log().mul(0) if torch.equal(model.now, bad[:2]) else x
    }
    settings = dataclasses.replace(world.settings(num_steps=8), precision=precision)
    with hooked(model, inject):
        records = list(train(model, world.batches(), settings, tmp_path, told.append))
    (line,) = [text for text in told if "passed over" in text]
    assert "step 6" in line and "blocks.1.feed_forward.up, operation aten::log, forward" in line
    assert [record.step for record in records] == list(range(1, 9)) and records[-1].loss < records[0].loss


@pytest.mark.slow
def test_a_compiled_run_is_looked_at_eager(tmp_path):
    model, told = world.model(), []
    settings = world.settings(num_steps=4, compile=True)
    for record in train(model, world.batches(), settings, tmp_path, told.append):
        if record.step == 2 and not any("passed" in text for text in told):
            model.blocks[0].feed_forward.up.weight.data[0, 0] = float("nan")
    assert any("weight blocks.0.feed_forward.up.weight" in text for text in told)
