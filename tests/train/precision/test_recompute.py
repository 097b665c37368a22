"""Activations computed again: bitwise the same gradients, fewer bytes, one forward more."""

import pytest
import torch
import world
from torch.utils.flop_counter import FlopCounterMode

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.clustered import Routing
from ownlm.model.blocks import Layer
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.hybrid import hybrid
from ownlm.model.layers import FeedForward
from ownlm.train.health.memory import LiveBytes
from ownlm.train.loop import forward_backward, train
from ownlm.train.recompute import recomputed
from ownlm.train.setup import prepare

WAYS = ("none", "attention", "blocks")


def gradients(model, **changes):
    config = world.settings(**changes)
    loss = forward_backward(model, world.batches()(0), prepare(model, config, lambda text: None), config)
    return loss, {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("way", WAYS[1:])
def test_gradients_are_bitwise_those_of_keeping_everything(way):
    loss, expected = gradients(world.model())
    again, found = gradients(world.model(), recompute=way)
    assert again == loss and expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("way", WAYS[1:])
def test_so_they_are_of_experts_and_recurrences(way):
    plan = hybrid("MA", 64, 32, 64, feed_forwards="EF")
    ids = torch.randint(64, (2, 24))
    found = []
    for chosen in ("none", way):
        model = Decoder(plan, 3)
        with recomputed(model, chosen):
            model(ids).square().mean().backward()
        found.append([weight.grad for weight in model.parameters()])
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(*found, strict=True))


def deep(layers=6):
    return Decoder(ModelConfig(64, 64, 128, layers, 4, 4, 16, 192), 0)


def measured(way, layers=6):
    """(bytes kept after the forward, peak bytes, operations of forward and backward)."""
    model, ids = deep(layers), torch.randint(64, (2, 192))
    with recomputed(model, way), LiveBytes() as live:
        loss = model(ids).square().mean()
        kept = live.now
        loss.backward()
    model.zero_grad()
    counter = FlopCounterMode(display=False)
    with recomputed(model, way), counter:
        model(ids).square().mean().backward()
    return kept, live.peak, counter.get_total_flops()


def test_memory_falls_and_one_forward_more_is_computed():
    kept, peak, flops = zip(*(measured(way) for way in WAYS), strict=True)
    assert kept[2] < kept[0] / 6 and kept[1] < 0.7 * kept[0]
    assert peak[2] < peak[0] / 2 and peak[1] < 0.85 * peak[0]
    assert 1.25 < flops[2] / flops[0] < 1.35  # a third, less the output layer
    assert 1.0 < flops[1] / flops[0] < 1.1


def test_what_is_kept_grows_with_depth_by_one_input_a_block():
    few, many = measured("blocks", 2)[0], measured("blocks", 6)[0]
    assert (many - few) / 4 == pytest.approx(2 * 192 * 64 * 4, rel=0.3)  # B T D float32


def test_the_model_is_changed_inside_only_and_evaluation_keeps_nothing():
    model = world.model()
    with recomputed(model, "blocks"), torch.no_grad():
        assert model.blocks[0]._compiled_call_impl is not None
        model(torch.zeros(1, 8, dtype=torch.int64))
    assert all(module._compiled_call_impl is None for module in model.modules())


def test_what_cannot_be_computed_twice_is_refused(tmp_path):
    plan = Architecture(64, 32, (Layer(Routing(2, 16, 4, 8), FeedForward(64)),), 64)
    with pytest.raises(UsageError, match="learns in its forward pass"):
        prepare(Decoder(plan), world.settings(recompute="blocks"), lambda text: None)
    with pytest.raises(UsageError, match="no blocks"):
        prepare(torch.nn.Linear(4, 4), world.settings(recompute="attention"), lambda text: None)


def test_the_choice_among_operations_is_eager_and_says_so():
    told = []
    setup = prepare(world.model(), world.settings(compile=True, recompute="attention"), told.append)
    assert not setup.compiled and any("not compiled: recompute = attention" in text for text in told)


@pytest.mark.slow
def test_compiled_blocks_are_computed_again_too(tmp_path):
    found = []
    for chosen in ("none", "blocks"):
        settings = world.settings(compile=True, recompute=chosen, num_steps=4)
        found.append(
            [r.loss for r in train(world.model(), world.batches(), settings, tmp_path / chosen, print)]
        )
    assert found[0] == pytest.approx(found[1], rel=1e-5)
