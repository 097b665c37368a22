"""The stream has exact shares, loses and doubles nothing, and goes on at the next sample whoever reads it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.pack.plan import plan_rows
from ownlm.data.pack.rows import PackedShards
from ownlm.data.shards import Shards, write_shards
from ownlm.data.stream.permutation import Permutation
from ownlm.data.stream.schedule import BLOCK, Schedule, apportion
from ownlm.data.stream.token_stream import Source, TokenStream
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.records import Document


def packed(prefix, count, seed=0, mode="best-fit", length=16, vocab_size=300) -> PackedShards:
    rng = random.Random(seed)
    items = [Document(f"d{seed}-{n}", "x" * rng.randint(0, 40), f"f{n}") for n in range(count)]
    write_shards(
        prefix,
        items,
        lambda texts: [np.full(len(t), seed, np.int64) for t in texts],
        256,
        vocab_size,
        eos_id=257,
    )
    read = Shards(prefix)
    return PackedShards(read, plan_rows(read, mode, length))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[Source]:
    folder = tmp_path_factory.mktemp("shards")
    return [
        Source("web", packed(folder / "web", 300, 1), 0.7),
        Source("code", packed(folder / "code", 200, 2), 0.2),
        Source("books", packed(folder / "books", 20, 3), 0.1),
    ]


def names(batches) -> list[tuple[int, int, int]]:
    """(source, row, epoch) of every sample."""
    return [
        key
        for b in batches
        for key in zip(b.sources.tolist(), b.numbers.tolist(), b.epochs.tolist(), strict=True)
    ]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6), st.integers(0, 400))
def test_apportionment_equals_one_seat_after_the_other(weights, seats):
    counts = [0] * len(weights)
    for _ in range(seats):  # the definition: the next seat to the largest weight / (2 count + 1)
        best = max(range(len(weights)), key=lambda s: (Fraction(weights[s], 2 * counts[s] + 1), -s))
        counts[best] += 1
    assert apportion(weights, seats) == counts


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_permutations_are_bijections_that_look_random(size):
    places = np.arange(size)
    one, other = Permutation(size, 0, "web", 0).of(places), Permutation(size, 0, "web", 1).of(places)
    assert sorted(one.tolist()) == places.tolist() and sorted(other.tolist()) == places.tolist()
    if size >= 64:
        assert (one == other).mean() < 0.1 and (one == places).mean() < 0.1
        assert abs(np.corrcoef(one, places)[0, 1]) < 0.3
        assert (
            abs(np.corrcoef(np.diff(one)[:-1], np.diff(one)[1:])[0, 1] + 0.5) < 0.2
        )  # as of independent draws
    big = Permutation(10**12, 3)
    assert len(set(big.of(np.arange(10**12 - 5000, 10**12)).tolist())) == 5000


def test_small_permutations_are_spread_over_all(size=4):
    """24 permutations of 4 under 1,200 seeds: chi-square within five standard deviations."""
    found = Counter(tuple(Permutation(size, seed).of(np.arange(size)).tolist()) for seed in range(1200))
    chi = sum((found[p] - 50) ** 2 / 50 for p in found) + (24 - len(found)) * 50
    assert chi < 23 + 5 * (2 * 23) ** 0.5


def test_shares_of_tokens_are_the_asked_ones_at_every_length(sources):
    """Also where rows are padded: the padded source gives more rows for the same tokens."""
    stream = TokenStream(sources, 64, seed=0)
    tokens = np.zeros(3)
    for batch in islice(stream, 100):
        for which in range(3):
            tokens[which] += (batch.rows.segments[batch.sources == which] >= 0).sum()
    assert tokens / tokens.sum() == pytest.approx([0.7, 0.2, 0.1], abs=0.003)


def test_shares_with_padded_rows(tmp_path):
    two = [
        Source("full", packed(tmp_path / "a", 300, 1, "stream"), 0.5),
        Source("padded", packed(tmp_path / "b", 300, 2, "pad", 16), 0.5),
    ]
    stream = TokenStream(two, 64, seed=0)
    tokens, rows = np.zeros(2), np.zeros(2)
    for batch in islice(stream, 200):
        for which in range(2):
            tokens[which] += (batch.rows.segments[batch.sources == which] >= 0).sum()
            rows[which] += (batch.sources == which).sum()
    assert tokens[0] / tokens.sum() == pytest.approx(0.5, abs=0.005) and rows[1] > 1.1 * rows[0]


def test_counts_are_exact_in_the_longest_run():
    schedule = Schedule([Fraction(7, 10), Fraction(2, 10), Fraction(1, 10)], seed=1)
    for samples in (0, 1, 999, BLOCK, BLOCK + 1, 10**15 + 7):
        counts = schedule.counts(samples)
        assert sum(counts) == samples
        if samples % BLOCK == 0 or samples > 10**12:
            assert all(abs(c - w * samples) < BLOCK for c, w in zip(counts, (0.7, 0.2, 0.1), strict=True))
    source, place = schedule.take(0, 5000)
    for which in range(3):
        assert place[source == which].tolist() == list(range(schedule.counts(5000)[which]))
    far, _ = schedule.take(10**14, 10)
    assert len(far) == 10


@pytest.mark.parametrize("shuffle", ["full", 50, 7, 0])
def test_every_epoch_has_every_row_once(sources, shuffle):
    stream = TokenStream(sources, 32, seed=4, shuffle=shuffle)
    seen = names(islice(stream, 120))
    assert len(set(seen)) == len(seen)
    complete = 0
    for which, source in enumerate(sources):
        by_epoch: dict[int, list[int]] = {}
        for s, row, epoch in seen:
            if s == which:
                by_epoch.setdefault(epoch, []).append(row)
        for epoch in range(max(by_epoch)):
            assert sorted(by_epoch[epoch]) == list(range(source.rows.num_rows))
            complete += 1
            if shuffle == 0:
                assert by_epoch[epoch] == list(range(source.rows.num_rows))
            elif shuffle == "full" or shuffle > 7:
                assert by_epoch[epoch] != sorted(by_epoch[epoch])
                assert epoch == 0 or by_epoch[epoch] != by_epoch[0]
            if isinstance(shuffle, int) and shuffle:  # nothing leaves its run of rows
                assert all(row // shuffle == n // shuffle for n, row in enumerate(by_epoch[epoch]))
    assert complete > 5


def test_rows_are_those_of_the_shards(sources):
    for batch in islice(TokenStream(sources, 8, seed=2), 20):
        assert batch.rows.tokens.shape == (8, 16) and batch.rows.tokens.dtype == np.uint16
        for row in range(8):
            expected = sources[batch.sources[row]].rows.rows(batch.numbers[row : row + 1])
            for name in ("tokens", "segments", "positions", "documents"):
                assert np.array_equal(getattr(batch.rows, name)[row], getattr(expected, name)[0])


def test_a_batch_names_its_documents(sources):
    stream = TokenStream(sources, 8, seed=2)
    batch = stream.batch(5)
    for row in range(8):
        for origin in stream.origins(batch, row):
            assert origin.id.startswith(f"d{batch.sources[row] + 1}-")
            ids = batch.rows.tokens[row, origin.start : origin.end].tolist()
            assert set(ids) <= {256, 257, int(batch.sources[row]) + 1}


def test_resumes_at_the_next_sample(sources):
    """At every step, through JSON, into a fresh stream."""
    straight = names(islice(TokenStream(sources, 5, seed=9), 60))
    stream = TokenStream(sources, 5, seed=9)
    found = []
    for _ in range(60):
        found += names([next(stream)])
        state = json.loads(json.dumps(stream.state_dict()))
        stream = TokenStream(sources, 5, seed=9)
        stream.load_state_dict(state)
    assert found == straight


@pytest.mark.parametrize("num_workers", [1, 2, 3, 4])
def test_workers_in_turn_are_the_single_process(sources, num_workers):
    straight = names(islice(TokenStream(sources, 5, seed=9), 40))
    stream = TokenStream(sources, 5, seed=9)
    workers = [stream.worker(w, num_workers) for w in range(num_workers)]
    apart = [next(workers[n % num_workers]) for n in range(23)]
    stream.skip(23)
    again = TokenStream(sources, 5, seed=9)
    again.load_state_dict(stream.state_dict())
    others = [again.worker(w, 5 - num_workers) for w in range(5 - num_workers)]  # another number of workers
    apart += [next(others[n % len(others)]) for n in range(17)]
    assert names(apart) == straight


def test_ranks_are_disjoint_and_together_the_global_order(sources):
    """1 -> 2 -> 1 -> 4 ranks with other batch sizes: one order of samples, 0 missing, 0 double."""
    straight = names(islice(TokenStream(sources, 1, seed=9), 600))
    state, found = TokenStream(sources, 1, seed=9).state_dict(), []
    for num_ranks, batch_size, steps in ((1, 12, 10), (2, 6, 10), (1, 12, 10), (4, 5, 12)):
        ranks = [
            TokenStream(sources, batch_size, seed=9, rank=r, num_ranks=num_ranks) for r in range(num_ranks)
        ]
        for rank in ranks:
            rank.load_state_dict(state)
        for _ in range(steps):
            for rank in ranks:
                found += names([next(rank)])
        assert len({json.dumps(rank.state_dict()) for rank in ranks}) == 1
        state = ranks[0].state_dict()
    assert found == straight


def test_seeds_and_epochs(sources):
    one, two = (names(islice(TokenStream(sources, 16, seed=s), 10)) for s in (0, 1))
    assert one != two and one == names(islice(TokenStream(sources, 16, seed=0), 10))
    stream = TokenStream(sources, 16, seed=0)
    seen = names(islice(stream, 77))
    for which, source in enumerate(sources):
        count = sum(s == which for s, _, _ in seen)
        assert stream.epochs()[source.name] == count / source.rows.num_rows
    assert stream.epochs() == stream.epochs_at(77 * 16)


def test_a_source_read_too_often_is_told_once(sources):
    lines: list[str] = []
    stream = TokenStream(sources, 32, seed=0, notice=lines.append)
    while stream.epochs()["books"] < 3.9:
        next(stream)
    assert lines == []
    for _ in range(100):
        next(stream)
    assert len([line for line in lines if "books" in line]) == 1 and "4 times" in lines[0]


def test_a_position_of_another_order_is_refused(sources, tmp_path):
    state = TokenStream(sources, 4, seed=0).state_dict()
    changed = [Source("web", sources[0].rows, 0.6), *sources[1:]]
    others = [
        TokenStream(sources, 4, seed=1), TokenStream(changed, 4, seed=0), TokenStream(sources[:2], 4, seed=0),
        TokenStream(sources, 4, seed=0, shuffle=100), TokenStream([*reversed(sources)], 4, seed=0),
        TokenStream([Source("web", packed(tmp_path / "x", 300, 7), 0.7), *sources[1:]], 4, seed=0),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(ArtifactError, match="another order"):
            other.load_state_dict(state)
    for wrong in ({}, {**state, "version": 2}, {**state, "next_sample": -1}, {**state, "next_sample": 1.5}):
        with pytest.raises(ArtifactError, match="not the state"):
            TokenStream(sources, 4, seed=0).load_state_dict(wrong)


def test_what_cannot_be_streamed_is_an_error(sources, tmp_path):
    web = sources[0]
    with pytest.raises(UsageError, match="names"):
        TokenStream([web, web], 4, seed=0)
    with pytest.raises(UsageError, match="names"):
        TokenStream([], 4, seed=0)
    for options in ({"batch_size": 0}, {"rank": 2, "num_ranks": 2}, {"shuffle": -1}, {"shuffle": "some"}):
        with pytest.raises(UsageError, match="range"):
            TokenStream(sources, **{"batch_size": 4, "seed": 0, **options})
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="weight"):
            TokenStream([Source("web", web.rows, weight)], 4, seed=0)
    with pytest.raises(DataError, match="no rows"):
        TokenStream([Source("none", packed(tmp_path / "n", 0))], 4, seed=0)
    with pytest.raises(UsageError, match="lengths"):
        TokenStream([web, Source("long", packed(tmp_path / "l", 30, length=32))], 4, seed=0)


def test_two_sizes_of_ids_are_joined(tmp_path):
    two = [
        Source("small", packed(tmp_path / "a", 50, 1)),
        Source("large", packed(tmp_path / "b", 50, 2, vocab_size=70_000)),
    ]
    batch = TokenStream(two, 32, seed=0).batch(0)
    assert batch.rows.tokens.dtype == np.uint32 and set(batch.sources.tolist()) == {0, 1}


@pytest.mark.slow
def test_an_epoch_of_100_000_documents_with_40_resumes(tmp_path):
    """RELIABILITY A4: packing, shuffling, 1 to 4 workers, 1 to 2 ranks, anew after each stop: 0 missing, 0 double."""
    rows = packed(tmp_path / "t", 100_000, 1, length=128)
    one, rng = [Source("all", rows)], random.Random(0)
    state, seen = TokenStream(one, 1, seed=5).state_dict(), np.zeros(100_000, np.int64)
    read_rows: list[int] = []
    for stop in [*sorted(rng.sample(range(1, rows.num_rows), 40)), rows.num_rows]:
        for batch_size, num_ranks, num_workers in (
            (rng.choice([2, 3, 8]), rng.choice([1, 2]), rng.randint(1, 4)),
            (1, 1, 1),
        ):
            steps = (stop - state["next_sample"]) // (batch_size * num_ranks)
            ranks = [
                TokenStream(one, batch_size, seed=5, rank=r, num_ranks=num_ranks) for r in range(num_ranks)
            ]
            for stream in ranks:
                stream.load_state_dict(json.loads(json.dumps(state)))
                workers = [stream.worker(w, num_workers) for w in range(num_workers)]
                for step in range(steps):
                    batch = next(workers[step % num_workers])
                    read_rows += batch.numbers.tolist()
                    seen += np.bincount(batch.rows.documents[batch.rows.documents >= 0], minlength=100_000)
                stream.skip(steps)
            state = ranks[0].state_dict()
    assert state["next_sample"] == rows.num_rows and sorted(read_rows) == list(range(rows.num_rows))
    assert np.array_equal(seen, rows.shards.document_lengths)


KILLED = """
import hashlib, json, os, sys
from ownlm.data.pack.rows import PackedShards
from ownlm.data.stream.token_stream import Source, TokenStream
from ownlm.runtime.files import write_atomic
folder, steps = sys.argv[1], int(sys.argv[2])
stream = TokenStream([Source(n, PackedShards.load(f"{folder}/{n}", "plan")) for n in ("a", "b")], 8, seed=3)
state, lines = f"{folder}/state.json", []
if os.path.exists(state):
    saved = json.load(open(state))
    stream.load_state_dict(saved["stream"])
    lines = saved["lines"]
while len(lines) < steps:
    lines.append(hashlib.sha256(next(stream).rows.tokens.tobytes()).hexdigest()[:16])
    write_atomic(state, json.dumps({"stream": stream.state_dict(), "lines": lines}))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_with_the_exact_next_sample(tmp_path):
    """RELIABILITY A4: SIGKILL at 20 random moments; the samples equal those of the undisturbed run."""
    from ownlm.data.pack.plan import save_plan

    two = []
    for seed, name in enumerate("ab"):
        rows = packed(tmp_path / name, 200, seed + 1)
        save_plan(tmp_path / name, "plan", rows.plan)
        two.append(Source(name, rows))
    steps, kills, rng = 1500, 0, random.Random(0)
    while True:
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), str(steps)], env=os.environ)
        if kills < 20:
            time.sleep(0.25 + 0.3 * rng.random())
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            if process.returncode == 0:
                break
        elif process.wait() == 0:
            break
    assert kills >= 5
    lines = json.loads((tmp_path / "state.json").read_text())["lines"]
    stream = TokenStream(two, 8, seed=3)
    assert lines == [
        hashlib.sha256(next(stream).rows.tokens.tobytes()).hexdigest()[:16] for _ in range(steps)
    ]
