"""Prefixes are read both ways, documents of a row do not see each other, the decoder is untouched."""

import numpy as np
import pytest
import torch
import world

from ownlm.errors import DataError, UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.hybrid import hybrid
from ownlm.model.layers import FeedForward
from ownlm.model.position import Rope
from ownlm.train.batches import Batch, ShardBatches
from ownlm.train.corruption.documents import DocumentBatches
from ownlm.train.corruption.prefix import PrefixBatches
from ownlm.train.objectives import visibility
from ownlm.train.objectives.causal import Causal
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.objectives.prefix import Prefix


def decoder(mixer):
    return Decoder(Architecture(64, 32, (Layer(mixer, FeedForward(48)),) * 2, 64), seed=5)


GROUPED = GroupedQuery(2, 1, 16, rope=Rope())
MODELS = {"grouped": GROUPED, "latent": Latent(2, 8, 8, 8, 8), "no rope": GroupedQuery(2, 2, 16)}


def ids(rows, tokens, seed=0):
    return torch.randint(64, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def test_the_masks_are_the_drawn_ones():
    prefix = visibility.of_prefixes(torch.tensor([3]), 6).mask()[0, 0].int().tolist()
    assert prefix == [[1, 1, 1, 0, 0, 0]] * 3 + [[1] * 4 + [0] * 2, [1] * 5 + [0], [1] * 6]
    sight = visibility.of_documents(torch.tensor([[0, 0, 0, 1, 1, 1]]))
    half = torch.ones(3, 3).tril()
    assert torch.equal(sight.mask()[0, 0].float(), torch.block_diag(half, half))
    assert sight.keys().tolist() == [[0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize("name", MODELS)
def test_packed_documents_equal_each_alone(name):
    model, text = decoder(MODELS[name]), ids(2, 20)
    cuts = ((0, 7, 8, 20), (0, 20))
    documents = torch.tensor([[0] * 7 + [1] + [2] * 12, [0] * 20])
    targets = ids(2, 20, 1)
    loss = Causal()(model, Batch(text, targets, {"documents": documents}), 40)
    loss.backward()
    packed = {key: weight.grad.clone() for key, weight in model.named_parameters()}
    model.zero_grad()
    total = 0.0
    for row, ends in enumerate(cuts):
        for start, stop in zip(ends, ends[1:], strict=False):
            part = (slice(row, row + 1), slice(start, stop))
            alone = Causal()(model, Batch(text[part], targets[part]), 40)
            alone.backward()
            total += float(alone.detach())
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    for key, weight in model.named_parameters():
        torch.testing.assert_close(packed[key], weight.grad, rtol=1e-3, atol=1e-6, msg=key)
    assert abs(float(Causal()(model, Batch(text, targets), 40).detach()) - total) > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_what_a_token_depends_on_is_what_the_prefix_allows(name):
    model, text = decoder(MODELS[name]), ids(2, 10)
    lengths = torch.tensor([4, 1])
    for changed in range(10):
        other = text.clone()
        other[:, changed] = (other[:, changed] + 1) % 64
        sight = visibility.of_prefixes(lengths, 10)
        with torch.no_grad():
            moved = visibility.hidden(model, text, sight) - visibility.hidden(model, other, sight)
        for row, length in enumerate((4, 1)):
            seen = [t for t in range(10) if moved[row, t].abs().max() > 1e-6]
            assert seen == list(range(0 if changed < length else changed, 10)), (row, changed)


def test_a_prefix_of_one_is_the_causal_model():
    model, text = decoder(GROUPED), ids(3, 12)
    ones = torch.ones(3, dtype=torch.int64)
    mine = visibility.hidden(model, text, visibility.of_prefixes(ones, 12))
    torch.testing.assert_close(mine, model.hidden(text), rtol=1e-5, atol=1e-6)


def test_a_window_reaches_as_far_ahead_as_back():
    model = decoder(GroupedQuery(2, 1, 16, rope=Rope(), window=3))
    text, lengths = ids(1, 9), torch.tensor([9])
    other = text.clone()
    other[0, 0] = (other[0, 0] + 1) % 64
    sight = visibility.of_prefixes(lengths, 9)
    moved = (visibility.hidden(model, text, sight) - visibility.hidden(model, other, sight)).abs()[0].amax(1)
    assert [t for t in range(9) if moved[t] > 1e-6] == [0, 1, 2, 3, 4]  # two layers, two tokens each
    assert sight.mask(3)[0, 0][4].tolist() == [False] * 2 + [True] * 5 + [False] * 2


def test_layers_that_obey_no_mask_are_refused():
    model = Decoder(hybrid("MA", 64, 32, 64), seed=0)
    batch = Batch(ids(1, 8), ids(1, 8), {"documents": torch.zeros(1, 8, dtype=torch.int64)})
    with pytest.raises(UsageError, match="Mamba"):
        Causal()(model, batch, 8)


def test_only_tokens_behind_the_prefix_are_asked_for():
    source = world.batches()
    batch = PrefixBatches(source, seed=7)(2)
    plain = source(2)
    for row, length in enumerate(batch.extra["prefix"].tolist()):
        assert 1 <= length < world.CONTEXT
        assert (batch.targets[row, : length - 1] == IGNORE).all()
        assert torch.equal(batch.targets[row, length - 1 :], plain.targets[row, length - 1 :])
    assert torch.equal(batch.inputs, plain.inputs)
    lengths = torch.cat([PrefixBatches(source, seed=7)(step).extra["prefix"] for step in range(200)])
    assert lengths.min() <= 2 and lengths.max() == world.CONTEXT - 1
    assert abs(lengths.double().mean() - world.CONTEXT / 2) < 3
    with pytest.raises(UsageError, match="one prefix each"):
        Prefix()(world.model(), plain, 1)


def test_documents_of_a_window_are_counted_from_the_shards_starts():
    starts = np.array([0, 5, 6, 30, 31, 32, 70])
    source = ShardBatches(np.arange(100, dtype=np.uint16), 16, 3, seed=2)
    for step in range(4):
        batch = DocumentBatches(source, starts)(step)
        plain = source(step)
        assert torch.equal(batch.inputs, plain.inputs) and torch.equal(batch.targets, plain.targets)
        for row in range(3):
            truth = [sum(start <= place for start in starts) for place in batch.inputs[row].tolist()]
            assert batch.extra["documents"][row].tolist() == [number - truth[0] for number in truth]
    for wrong in ([], [1, 5], [0, 5, 5], [0, 100]):
        with pytest.raises(DataError, match="not the starts"):
            DocumentBatches(source, np.array(wrong, dtype=np.int64))
