"""Masks and pairs: 15 % are asked for, only they count, a pair's class is the truth about it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import DataError, UsageError
from ownlm.model.encoder import Encoder, bert
from ownlm.model.encoder_heads import ClassHead, EncoderHeads
from ownlm.train.batches import Batch
from ownlm.train.corruption.masking import MaskedBatches
from ownlm.train.corruption.pairs import FOLLOWS, RANDOM, PairBatches
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.objectives.masked import Masked

CLS, SEP, PAD, MASK = 0, 1, 2, 3


def words(rows=16, tokens=64, seed=0):
    ids = torch.randint(10, 90, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = CLS
    return lambda step: Batch(ids, ids)


def masked(source, **options):
    chosen = {"mask_id": MASK, "vocab_size": 96, "seed": 5, "keep_ids": (CLS, SEP, PAD)}
    return MaskedBatches(source, **(chosen | options))


def test_fifteen_percent_are_asked_for_and_eighty_of_a_hundred_of_them_are_hidden():
    source, asked, hidden, same = words(), 0, 0, 0
    ids = source(0).inputs
    for step in range(60):
        batch = masked(source)(step)
        where = batch.targets != IGNORE
        assert torch.equal(batch.targets[where], ids[where])
        assert torch.equal(batch.inputs[~where], ids[~where])
        assert not where[:, 0].any()
        asked, hidden = asked + int(where.sum()), hidden + int((batch.inputs[where] == MASK).sum())
        same += int((batch.inputs[where] == ids[where]).sum())
    assert asked / (60 * 16 * 63) == pytest.approx(0.15, abs=0.005)
    assert hidden / asked == pytest.approx(0.8, abs=0.02) and same / asked == pytest.approx(0.1, abs=0.02)
    one, two = masked(source)(0), masked(source)(1)
    assert not torch.equal(one.targets, two.targets)


def test_a_tiny_batch_is_drawn_again_and_one_of_special_tokens_is_an_error():
    tiny = masked(words(1, 3))
    assert all((tiny(step).targets != IGNORE).any() for step in range(60))
    with pytest.raises(DataError, match="no token to ask for"):
        masked(lambda step: Batch(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4)))(0)


def encoder(**heads):
    return Encoder(bert(96, 32, 2, 2, 48, 64, heads=EncoderHeads(masked="gelu", **heads)), seed=3)


def test_only_the_tokens_asked_for_count():
    model, batch = encoder(), masked(words(3, 20))(0)
    where = batch.targets != IGNORE
    loss = Masked()(model, batch, int(where.sum()))
    logits = model(batch.inputs)
    torch.testing.assert_close(loss, F.cross_entropy(logits[where], batch.targets[where]))
    fewer = batch.targets.clone()
    row, place = where.nonzero()[0].tolist()
    fewer[row, place] = IGNORE
    left = Masked()(model, Batch(batch.inputs, fewer), int(where.sum()))
    lost = F.cross_entropy(logits[row, place], batch.targets[row, place]) / where.sum()
    torch.testing.assert_close(loss - left, lost, rtol=1e-3, atol=1e-5)


def test_padding_is_not_read_and_the_class_of_each_pair_counts_once():
    model, batch = encoder(pooler="tanh", classes=ClassHead(2)), masked(pairs(tokens=TOKENS % 80 + 10))(1)
    objective = Masked(next_sentence=True)
    loss = objective(model, batch, 7)
    padding = ~batch.extra["mask"]
    assert padding.any()
    other = Batch(torch.where(padding, 50, batch.inputs), batch.targets, batch.extra)
    torch.testing.assert_close(objective(model, other, 7), loss)
    found = model.outputs(batch.inputs, batch.extra["mask"], batch.extra["types"])
    where = batch.targets != IGNORE
    plain = F.cross_entropy(found["masked"][where], batch.targets[where], reduction="sum") / 7
    plain = plain + F.cross_entropy(found["classes"], batch.extra["next"]) * where.sum() / 7
    torch.testing.assert_close(loss, plain)
    with pytest.raises(UsageError, match="lacks a head"):
        objective(encoder(), batch, 7)


STARTS = np.array([0, 1, 40, 100, 103, 200])
TOKENS = np.arange(10, 310, dtype=np.uint16)  # a token says where it stands


def pairs(context=32, starts=STARTS, tokens=TOKENS):
    return PairBatches(tokens, starts, context, 8, 3, cls_id=CLS, sep_id=SEP, pad_id=PAD)


def document_of(token):
    return int(np.searchsorted(STARTS, token - 10, side="right")) - 1


@pytest.mark.parametrize("context", [5, 6, 32, 128])
def test_every_pair_is_what_its_class_says(context):
    made, kinds, firsts = pairs(context), [], set()
    for step in range(60):
        batch = made(step)
        for row in range(8):
            ids = batch.inputs[row][batch.extra["mask"][row]].tolist()
            types = batch.extra["types"][row].tolist()
            assert ids[0] == CLS and ids[-1] == SEP and ids.count(SEP) == 2 and len(ids) <= context
            cut = ids.index(SEP)
            a, b = ids[1:cut], ids[cut + 1 : -1]
            assert a and b and types == [0] * (cut + 1) + [1] * (len(b) + 1) + [0] * (context - len(ids))
            for part in (a, b):
                assert part == list(range(part[0], part[0] + len(part)))
                assert document_of(part[0]) == document_of(part[-1])
            kind = int(batch.extra["next"][row])
            kinds.append(kind)
            firsts.add(document_of(a[0]))
            if kind == FOLLOWS:
                assert b[0] == a[-1] + 1 and document_of(a[0]) == document_of(b[0])
            else:
                assert kind == RANDOM and document_of(a[0]) != document_of(b[0])
    assert 0.42 < np.mean(kinds) < 0.58 and firsts == {1, 2, 3, 4, 5}  # document 0 has one token


def test_pairs_need_room_and_documents():
    with pytest.raises(UsageError, match="does not fit"):
        pairs(4)
    with pytest.raises(DataError, match="two documents"):
        pairs(32, np.array([0]))
