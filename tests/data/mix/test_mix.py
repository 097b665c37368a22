"""A mix has the asked shares, the same for any split into parts, and says what it repeats and drops."""

from __future__ import annotations

import json
import os
import random
from collections import Counter

import numpy as np
import pytest

from ownlm.data.flow.step import Note, run_alone
from ownlm.data.mix.cells import Cells, cut_at
from ownlm.data.mix.mix import Mix
from ownlm.data.mix.realised import shard_shares, shares
from ownlm.data.shards import Shards, write_shards
from ownlm.errors import DataError, UsageError
from ownlm.records import Document, Drop

WEIGHTS = {"web": 0.8, "code": 0.1, "books": 0.05, "science": 0.05}


def corpus(sizes: dict[str, int], seed=0, words=60) -> list[Document]:
    rng = random.Random(seed)
    found = [
        Document(f"{name}{n}", "word " * rng.randint(1, words), f"{name}/{n}", meta={"collection": name})
        for name, count in sizes.items()
        for n in range(count)
    ]
    rng.shuffle(found)
    return found


def kept(output) -> list[Document]:
    return [item for item in output if isinstance(item, Document)]


def in_parts(step, documents, cuts) -> list:
    parts = [documents[a:b] for a, b in zip([0, *cuts], [*cuts, len(documents)], strict=True)]
    decisions = step.decide([step.sketch(iter(part)) for part in parts])
    return [
        item
        for part, decision in zip(parts, decisions, strict=True)
        for item in step.apply(iter(part), decision)
    ]


SIZES = {"web": 3000, "code": 900, "books": 300, "science": 250, "other": 40}


@pytest.mark.parametrize("unit", ["tokens", "bytes", "words", "documents"])
def test_shares_are_the_asked_ones(unit):
    documents = corpus(SIZES)
    step = Mix(weights=WEIGHTS, unit=unit)
    output = run_alone(step, documents)
    found = shares(kept(output), WEIGHTS, unit=unit)
    assert {name: row["asked"] for name, row in found.items()} == pytest.approx(WEIGHTS)
    for name, row in found.items():
        assert row["share"] == pytest.approx(WEIGHTS[name], abs=0.003), name
        assert row["epochs"] == 1.0 and "warning" not in row
    reasons = Counter(item.reason for item in output if isinstance(item, Drop))
    assert reasons["mix: source without a weight: other"] == 40
    assert sum(reasons.values()) + len(kept(output)) == len(documents)
    # "as much as possible": one source is used up whole
    assert any(row["documents"] == SIZES[name] for name, row in found.items())


def test_repeats_reach_the_asked_total_and_are_warned_of():
    documents = corpus({"web": 2000, "science": 30})
    weights = {"web": 0.8, "science": 0.2}
    output = run_alone(Mix(weights=weights, max_epochs=9, total=15_000, unit="words"), documents)
    found = shares(kept(output), weights, unit="words")
    assert found["science"]["share"] == pytest.approx(0.2, abs=0.01)
    assert sum(row["words"] for row in found.values()) == pytest.approx(15_000, rel=0.01)
    times = {item.meta.get("repeat", 1) for item in kept(output) if item.meta["collection"] == "science"}
    assert len(times) <= 2 and max(times) - min(times) <= 1 and found["science"]["epochs"] > 2
    many = run_alone(Mix(weights={"web": 0.5, "science": 0.5}, max_epochs=9), documents)
    notes = Counter(item.change for item in many if isinstance(item, Note))
    assert notes == {
        "documents repeated": 30,
        "warning: source science is read more than 4 times, which adds little": 30,
    }
    report = shares(kept(many), unit="words")
    assert report["science"]["epochs"] == pytest.approx(9) and "9.0 times" in report["science"]["warning"]


def test_parts_and_order_do_not_matter():
    documents = corpus(SIZES)
    step = Mix(weights=WEIGHTS, max_epochs=1.7, seed=3)
    whole = run_alone(step, documents)
    assert in_parts(step, documents, [7, 7, 1000, 4490]) == whole
    shuffled = documents[:]
    random.Random(9).shuffle(shuffled)
    assert {d.id: d.meta for d in kept(run_alone(step, shuffled))} == {d.id: d.meta for d in kept(whole)}
    other = kept(run_alone(Mix(weights=WEIGHTS, max_epochs=1.7, seed=4), documents))
    assert {d.id for d in other} != {d.id for d in kept(whole)}


def test_a_larger_total_keeps_what_a_smaller_one_kept():
    documents = corpus(SIZES)
    sets = [
        {d.id for d in kept(run_alone(Mix(weights=WEIGHTS, unit="words", total=total), documents))}
        for total in (5_000, 20_000, 60_000)
    ]
    assert sets[0] < sets[1] < sets[2]


def test_tokens_per_source_are_estimated_as_told():
    documents = corpus({"web": 1000, "code": 1000})
    step = Mix(weights={"web": 0.5, "code": 0.5}, bytes_per_token={"code": 2.0})
    found = shares(kept(run_alone(step, documents)), unit="bytes")
    assert found["web"]["share"] == pytest.approx(2 / 3, abs=0.01)
    found = shares(kept(run_alone(step, documents)), bytes_per_token={"code": 2.0})
    assert found["web"]["share"] == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_mixed_is_an_error_that_names_it():
    documents = corpus({"web": 10})
    with pytest.raises(DataError, match="books"):
        run_alone(Mix(weights={"web": 0.5, "books": 0.5}), documents)
    with pytest.raises(UsageError, match="is possible"):
        run_alone(Mix(weights={"web": 1.0}, total=1e9), documents)
    for weights in ({"web": -1.0, "code": 2.0}, {"web": 0.0}, {"web": float("nan")}, {"web": float("inf")}):
        with pytest.raises(UsageError):
            run_alone(Mix(weights=weights), documents)
    assert len(run_alone(Mix(weights={"web": 1.0, "books": 0.0}), documents)) == 10


def test_shares_of_real_tokens_reach_the_shards(tmp_path):
    """Through the token shards, repeats included: what the loader will read."""
    documents = corpus({"web": 1500, "code": 300, "books": 60})
    weights = {"web": 0.7, "code": 0.2, "books": 0.1}
    mixed = kept(run_alone(Mix(weights=weights, max_epochs=4, unit="words", total=50_000), documents))
    write_shards(
        tmp_path / "t", mixed, lambda texts: [np.zeros(len(t.split()), int) for t in texts], 1, 9, eos_id=2
    )
    found = shard_shares(Shards(tmp_path / "t"), weights)
    assert {name: row["share"] for name, row in found.items()} == pytest.approx(weights, abs=0.01)
    assert found["books"]["epochs"] > 1 and found["books"]["asked"] == pytest.approx(0.1)


def test_weights_from_a_file(tmp_path):
    documents = corpus(SIZES)
    for content in (WEIGHTS, {"weights": WEIGHTS, "seeds": 3}):
        path = tmp_path / f"{len(content)}.json"
        path.write_text(json.dumps(content))
        assert run_alone(Mix(weights_file=path), documents) == run_alone(Mix(weights=WEIGHTS), documents)
    for wrong in ("[1]", "{", '{"web": "much"}', '{"weights": {"web": true}}'):
        path.write_text(wrong)
        os.utime(path, ns=(len(wrong), len(wrong)))
        with pytest.raises(UsageError):
            run_alone(Mix(weights_file=path), documents)
    for options in ({}, {"weights": WEIGHTS, "weights_file": path}, {"weights_file": tmp_path / "none"}):
        with pytest.raises(UsageError):
            run_alone(Mix(**options), documents)


def test_two_passes_over_cells_cut_where_sorting_would():
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = int(rng.integers(1, 400))
        hashes = rng.integers(0, 1 << 63, count, np.uint64)
        hashes[rng.random(count) < 0.3] >>= np.uint64(
            int(rng.integers(20, 60))
        )  # many in one cell, some equal
        sizes = rng.integers(1, 100, count).astype(float)
        cells = Cells()
        cells.add(hashes, sizes)
        size = float(rng.random() * sizes.sum())
        cell = cells.boundary(size)
        inside = Cells.of(hashes) == cell
        cut = cut_at([(hashes[inside], sizes[inside])], cell, size - cells.before(cell))
        distinct = np.unique(hashes)
        candidates = [sizes[hashes < h].sum() for h in distinct.tolist()] + [sizes.sum()]
        best = min(abs(c - size) for c in candidates)
        assert abs(sizes[hashes < np.uint64(cut)].sum() - size) == pytest.approx(best)
