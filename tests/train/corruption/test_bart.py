"""BART's noise: each kind keeps what it must, the target is the whole text."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.corruption import bart
from ownlm.train.objectives.cross_entropy import IGNORE

MASK, STOPS = 999, (7, 8)


def is_subsequence(short, long):
    rest = iter(long)
    return all(token in rest for token in short)


def sentences(ids):
    ends = [0, *(n + 1 for n, token in enumerate(ids) if token in STOPS)]
    return [tuple(ids[a:b]) for a, b in zip(ends, ends[1:], strict=False)]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 60), st.floats(0.01, 0.95), st.floats(0.1, 20), st.integers(0, 10_000))
def test_infilling_keeps_the_rest_in_order_and_is_never_longer(num_tokens, ratio, mean, seed):
    random = np.random.default_rng(seed)
    ids = np.arange(num_tokens)
    found = bart.infill(ids, MASK, ratio, mean, random).tolist()
    assert len(found) <= num_tokens
    kept = [token for token in found if token != MASK]
    assert is_subsequence(kept, ids.tolist()) and MASK in found
    assert all(a != MASK or b != MASK for a, b in zip(found, found[1:], strict=False))


def test_infilling_covers_thirty_percent_and_also_inserts():
    counts, inserts = [], 0
    for seed in range(200):
        found = bart.infill(np.arange(100), MASK, 0.3, 3.0, np.random.default_rng(seed)).tolist()
        counts.append(100 - sum(token != MASK for token in found))
        places = [n for n, token in enumerate(found) if token == MASK and 0 < n < len(found) - 1]
        inserts += sum(found[n + 1] - found[n - 1] == 1 for n in places)
    assert 27 < np.mean(counts) <= 30 and inserts > 50


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(0, 1000))
def test_the_other_kinds_keep_what_they_must(ids, seed):
    random, text = np.random.default_rng(seed), np.array(ids)
    permuted = bart.permute(text, STOPS, random)
    assert Counter(permuted.tolist()) == Counter(ids)
    if ids[-1] in STOPS:  # else the open last sentence runs into another
        assert Counter(sentences(permuted.tolist())) == Counter(sentences(ids))
    turned = bart.rotate(text, random).tolist()
    assert any(turned == ids[n:] + ids[:n] for n in range(len(ids)))
    fewer = bart.delete(text, 0.5, random).tolist()
    assert fewer and is_subsequence(fewer, ids)
    hidden = bart.mask(text, MASK, 0.5, random)
    assert ((hidden == text) | (hidden == MASK)).all()


def test_sentences_move_as_wholes():
    text = np.array([1, 2, 7, 3, 8, 4, 5, 6])
    found = {tuple(bart.permute(text, STOPS, np.random.default_rng(seed)).tolist()) for seed in range(60)}
    parts = ([1, 2, 7], [3, 8], [4, 5, 6])
    expected = {tuple(parts[a] + parts[b] + parts[c]) for a in range(3) for b in range(3) for c in range(3) if {a, b, c} == {0, 1, 2}}  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("kinds", [("permute", "infill"), *((kind,) for kind in bart.KINDS), bart.KINDS])
def test_the_target_is_the_text_and_the_source_is_noisy(kinds):
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 60, (5, 32)))
    made = bart.BartBatches(lambda step: Batch(ids, ids), mask_id=MASK, end_id=1, pad_id=0, seed=3, kinds=kinds,
                            stop_ids=STOPS)  # fmt: skip
    batch = made(0)
    assert torch.equal(batch.targets[:, :-1], ids) and (batch.targets[:, -1] == 1).all()
    assert not (batch.targets == IGNORE).any()
    changed = 0
    for row in range(5):
        shown = batch.inputs[row][batch.extra["mask"][row]].tolist()
        assert shown.pop() == 1
        changed += shown != ids[row].tolist()
        assert set(shown) - {MASK} <= set(ids[row].tolist())
    assert changed >= 3
    assert not torch.equal(made(1).inputs, batch.inputs)


def test_what_cannot_be_is_refused():
    def make(**options):
        return bart.BartBatches(lambda step: None, mask_id=9, end_id=1, pad_id=0, seed=0, **options)

    with pytest.raises(UsageError, match="where they end"):
        make()
    with pytest.raises(UsageError, match="shuffle"):
        make(kinds=("shuffle",))
    with pytest.raises(UsageError, match="This much"):
        make(kinds=("mask",), ratio=1.0)
