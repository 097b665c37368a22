"""Spans: source and target rebuild the text, the amounts are those that were asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import DataError, UsageError
from ownlm.train.batches import Batch
from ownlm.train.corruption.spans import Denoiser, SpanBatches, cut, pieces, placed, rebuild, ul2
from ownlm.train.objectives.cross_entropy import IGNORE

SENTINELS = tuple(range(999, 899, -1))


def source(context, rows=6):
    def at(step):
        random = np.random.default_rng(step)
        ids = torch.from_numpy(random.integers(10, 800, (rows, context)))
        return Batch(ids, ids)

    return at


def batches(context, **options):
    chosen = {"sentinels": SENTINELS, "end_id": 1, "pad_id": 0, "seed": 4, "context": context}
    return SpanBatches(source(context), **(chosen | options))


def test_the_drawn_example():
    found = cut(np.array([11, 12, 13, 14, 15, 16, 17]), [(1, 3), (5, 6)], (99, 98))
    assert found == ([11, 99, 14, 15, 98, 17], [99, 12, 13, 98, 16])


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 80), st.floats(0.01, 0.99), st.floats(1, 40), st.booleans(), st.integers(0, 1000))
def test_source_and_target_rebuild_the_text(num_tokens, density, mean, sequential, seed):
    random = np.random.default_rng(seed)
    ids, denoiser = random.integers(0, 800, num_tokens), Denoiser(mean, density, sequential)
    spans = denoiser.draw(num_tokens, random)
    noise, count = denoiser.counts(num_tokens)
    assert len(spans) == count and sum(stop - start for start, stop in spans) == noise
    assert all(start < stop for start, stop in spans)
    assert all(a[1] < b[0] for a, b in zip(spans, spans[1:], strict=False))  # never touching
    shown, asked = cut(ids, spans, SENTINELS)
    assert rebuild(shown, asked, SENTINELS) == ids.tolist()
    assert len(shown) == num_tokens - noise + count and len(asked) == noise + count
    with pytest.raises(DataError, match="no such span"):
        rebuild(shown, asked[1:], SENTINELS)


@pytest.mark.parametrize("denoisers", [(Denoiser(),), ul2(801, 802, 803), ul2()])
@pytest.mark.parametrize("context", [2, 7, 64])
def test_batches_rebuild_their_texts_and_have_one_shape(denoisers, context):
    made = batches(context, denoisers=denoisers)
    modes = {d.mode_id for d in denoisers} - {None}
    seen = set()
    for step in range(12):
        batch = made(step)
        assert batch.inputs.shape == batch.extra["mask"].shape == (6, made.source_length)
        assert batch.targets.shape == (6, made.target_length)
        for row in range(6):
            shown = batch.inputs[row][batch.extra["mask"][row]].tolist()
            asked = batch.targets[row][batch.targets[row] != IGNORE].tolist()
            assert shown.pop() == asked.pop() == 1
            if modes:
                seen.add(shown.pop(0))
            assert rebuild(shown, asked, SENTINELS) == source(context)(step).inputs[row].tolist()
        assert (batch.inputs[~batch.extra["mask"]] == 0).all()
    assert seen == modes


def test_fifteen_percent_in_spans_of_three():
    noise, count = Denoiser().counts(512)
    assert noise == 77 and count == 26  # round(76.8), round(77 / 3)
    starts = [a for seed in range(300) for a, _ in Denoiser().draw(40, np.random.default_rng(seed))]
    share = np.bincount(starts, minlength=40) / len(starts)
    assert share[:35].min() > 0.01 and share[:35].max() < 0.05  # everywhere about alike, the first token too


def test_lengths_and_places_are_even():
    random = np.random.default_rng(0)
    found = [tuple(pieces(4, 2, random)) for _ in range(3000)]
    assert {kind: round(found.count(kind) / 1000) for kind in set(found)} == {(1, 3): 1, (2, 2): 1, (3, 1): 1}
    first = [placed(2, [5], random)[0] for _ in range(3000)]
    assert {kind: round(first.count(kind) / 1000) for kind in set(first)} == {(0, 5): 1, (1, 6): 1, (2, 7): 1}


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="too few different sentinels"):
        batches(512, sentinels=SENTINELS[:25])
    batches(512, sentinels=SENTINELS[:26])
    for wrong in (Denoiser(density=0.0), Denoiser(density=1.0), Denoiser(mean_length=0.5)):
        with pytest.raises(UsageError, match="denoisers are not possible"):
            batches(64, denoisers=(wrong,))
    with pytest.raises(DataError, match="stand for spans"):
        batches(16, sentinels=range(10, 800))(0)


def test_one_text_is_cut_otherwise_at_every_step_and_in_every_row():
    one = torch.arange(10, 74).expand(2, 64)
    chosen = {"sentinels": SENTINELS, "end_id": 1, "pad_id": 0, "seed": 4, "context": 64}
    made = SpanBatches(lambda step: Batch(one, one), **chosen)
    rows = [tuple(row.tolist()) for step in range(3) for row in made(step).inputs]
    assert len(set(rows)) == 6
