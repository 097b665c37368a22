"""Orders hold every document as often as it is to be read, sorted as asked, and are refused with another shard."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ownlm.data.mix.order import document_scores, load_order, make_order, save_order
from ownlm.data.pack.plan import plan_rows
from ownlm.data.pack.rows import PackedShards
from ownlm.data.shards import Shards, write_shards
from ownlm.data.stream.token_stream import Source, TokenStream
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.records import Document

ORDERS = ["as-stored", "shuffled", "sorted", "bucketed", "interleaved"]


def shards(prefix, count=120, seed=0) -> Shards:
    rng = random.Random(seed)
    items = [
        Document(f"d{n}", "x" * rng.randint(1, 60), f"f{n}", meta={
            "collection": "web" if n < count * 3 // 4 else "code", "perplexity": rng.random() * 100,
            "repeat": 3 if n % 10 == 0 else 1})
        for n in range(count)
    ]  # fmt: skip
    write_shards(
        prefix,
        items,
        lambda texts: [np.zeros(len(t), int) for t in texts],
        1,
        9,
        eos_id=2,
        keep_meta=["perplexity"],
    )
    return Shards(prefix)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Shards:
    return shards(tmp_path_factory.mktemp("s") / "train")


@pytest.mark.parametrize("order", ORDERS)
def test_every_document_as_often_as_asked(read, order):
    found = make_order(read, order, by="perplexity", seed=1)
    assert np.array_equal(np.bincount(found), read.repeats)
    assert np.array_equal(found, make_order(read, order, by="perplexity", seed=1))
    if order in ("shuffled", "bucketed", "interleaved"):
        assert not np.array_equal(found, make_order(read, order, by="perplexity", seed=2))


@pytest.mark.parametrize("by", ["length", "perplexity"])
def test_sorted_both_ways(read, by):
    scores = document_scores(read, by)
    assert (np.diff(scores[make_order(read, "sorted", by=by)]) >= 0).all()
    hardest = scores[make_order(read, "sorted", by=by, hardest_first=True)]
    assert (np.diff(hardest) <= 0).all() and hardest[0] == scores.max()
    assert by != "length" or scores.tolist() == [len(read.document_tokens(n)) for n in range(120)]


def test_buckets_climb_and_are_shuffled_inside(read):
    scores = document_scores(read, "perplexity")
    parts = np.array_split(scores[make_order(read, "bucketed", by="perplexity", buckets=6)], 6)
    for easier, harder in zip(parts[:-1], parts[1:], strict=True):
        assert easier.max() <= harder.min()
    assert all((np.diff(part) < 0).any() for part in parts)


def test_interleaved_stretches_have_the_mix_of_the_whole(read):
    found = make_order(read, "interleaved")
    code = np.array([read.facts(n)[0] == "code" for n in range(120)])
    lengths = read.document_lengths
    share = lengths[found][code[found]].sum() / lengths[found].sum()
    for part in np.array_split(found, 5):
        assert lengths[part][code[part]].sum() / lengths[part].sum() == pytest.approx(share, abs=0.1)
    stored = make_order(read, "as-stored")[:60]
    assert not code[stored].any()  # what interleaving is for


def test_repeats_lie_apart(read):
    """Documents read three times stand in different places, not one behind the other."""
    for order in ("as-stored", "shuffled", "interleaved"):
        found = make_order(read, order)
        assert (np.diff(found) == 0).sum() <= 3


def test_the_order_reaches_the_batches(read):
    found = make_order(read, "sorted", by="perplexity")
    packed = PackedShards(read, plan_rows(read, "stream", 32, found))
    stream = TokenStream([Source("all", packed)], 4, seed=0, shuffle=0)
    seen = np.concatenate([stream.batch(step).rows.documents.ravel() for step in range(packed.num_rows // 4)])
    seen = seen[seen >= 0]
    starts = seen[np.flatnonzero(np.diff(seen, prepend=-1))]
    # one document twice in a row looks like one
    expected = found[np.flatnonzero(np.diff(found, prepend=-1))]
    assert np.array_equal(starts, expected[: len(starts)]) and len(starts) > 100


def test_orders_are_kept_and_belong_to_their_shard(read, tmp_path):
    found = make_order(read, "shuffled", seed=5)
    save_order(tmp_path / "o", found, read, {"order": "shuffled", "seed": 5})
    assert np.array_equal(load_order(tmp_path / "o", read), found)
    with pytest.raises(ArtifactError, match="another shard"):
        load_order(tmp_path / "o", shards(tmp_path / "t", seed=1))
    (tmp_path / "o.npy").write_bytes((tmp_path / "o.npy").read_bytes()[:-1] + b"\1")
    with pytest.raises(ArtifactError, match="damaged"):
        load_order(tmp_path / "o", read)
    (tmp_path / "o.json").write_text("[]")
    with pytest.raises(ArtifactError, match="not an order"):
        load_order(tmp_path / "o", read)


def test_what_cannot_be_ordered_is_an_error(read):
    with pytest.raises(DataError, match=r"keep_meta=\[\"quality\"\]"):
        make_order(read, "sorted", by="quality")
    with pytest.raises(UsageError, match="no such order"):
        make_order(read, "backwards")
    with pytest.raises(UsageError, match="bucket"):
        make_order(read, "bucketed", buckets=0)
