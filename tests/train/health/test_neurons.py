"""Planted dead units and heads are found, all of them and no others."""

import pytest
import torch
import world
from torch import nn

from ownlm.errors import UsageError
from ownlm.model.decoder import Decoder
from ownlm.model.hybrid import hybrid
from ownlm.train.health.neurons import examine


def batches(count=3, vocab=512):
    return [torch.randint(vocab, (2, 32), generator=torch.Generator().manual_seed(n)) for n in range(count)]


def sharp(model):
    """Attention that prefers something, as after training."""
    for block in model.blocks:
        block.mixer.q.weight.data *= 40
        block.mixer.k.weight.data *= 10
    return model


def test_a_model_in_order_has_none():
    report = examine(sharp(world.model()), batches())
    assert not any(report.dead_units.values()) and not any(report.dead_heads.values())
    assert not any(report.uniform_heads.values()) and not any(report.sink_heads.values())
    assert sum(report.num_units.values()) == 256 and sum(report.num_heads.values()) == 8


def test_planted_units_and_heads_are_found():
    model = sharp(world.model())
    first, second = (block.feed_forward for block in model.blocks)
    first.gate.weight.data[[3, 70]] = 0
    first.up.weight.data[9] = 0
    second.down.weight.data[:, 100] = 0
    model.blocks[0].mixer.o.weight.data[:, 16:32] = 0  # head 1 of width 16
    model.blocks[1].mixer.q.weight.data[48:64] = 0  # head 3: every score is 0
    report = examine(model, batches())
    assert report.dead_units == {"blocks.0.feed_forward": [3, 9, 70], "blocks.1.feed_forward": [100]}
    assert report.dead_heads == {"blocks.0.mixer": [1], "blocks.1.mixer": []}
    assert report.uniform_heads == {"blocks.0.mixer": [], "blocks.1.mixer": [3]}
    assert "3 of 128 units dead, the first [3, 9, 70]" in str(report) and "uniform heads [3]" in str(report)
    assert model.training and all(not module._forward_pre_hooks for module in model.modules())


def test_a_head_that_looks_at_the_first_token_alone_is_a_sink():
    """Without a rotation, the first token has an id of its own, and one head's query and key prefer it."""
    plan = hybrid("NN", 64, 32, 64, feed_forwards="F")
    model = sharp(Decoder(plan, 0))
    model.embedding.weight.data[9] = 0
    model.embedding.weight.data[:, 0] = 1.0
    model.embedding.weight.data[9, 0], model.embedding.weight.data[9, 1] = 1.0, 30.0
    mixer, width = model.blocks[0].mixer, model.blocks[0].mixer.head_dim
    mixer.q.weight.data[width : 2 * width] = 0
    mixer.q.weight.data[width, 0] = 100.0
    shared = mixer.num_heads // mixer.num_kv_heads
    key = 1 // shared * width
    mixer.k.weight.data[key] = 0
    mixer.k.weight.data[key, 1] = 100.0
    ids = batches(1, 64)[0].clamp(min=10)
    ids[:, 0] = 9
    assert 1 in examine(model, [ids]).sink_heads["blocks.0.mixer"]
    assert 1 not in examine(model, [ids.clamp(min=10)]).sink_heads["blocks.0.mixer"]


def test_dead_relu_units_and_experts():
    plan = hybrid("AA", 64, 32, 64, feed_forwards="FE")
    model = Decoder(plan, 0)
    expert = model.blocks[1].feed_forward.experts[2]
    expert.up.weight.data[5] = 0
    report = examine(model, batches(8, 64))
    assert report.dead_units["blocks.1.feed_forward.experts.2"] == [5]
    assert sum(map(len, report.dead_units.values())) == 1


def test_what_has_nothing_to_look_at_is_refused():
    with pytest.raises(UsageError, match="no units or heads"):
        examine(nn.Linear(2, 2), batches())
    with pytest.raises(UsageError, match="0 batches"):
        examine(world.model(), [])
