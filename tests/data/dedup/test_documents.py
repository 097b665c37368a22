"""Whole documents dropped: exact, MinHash, SimHash, meaning. Held against all-pairs comparison of planted edits."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ownlm.data.dedup import minhash, pairs, simhash, words
from ownlm.data.dedup.exact import ExactDuplicates
from ownlm.data.dedup.minhash import MinHash, find_pairs
from ownlm.data.dedup.semantic import SemanticDuplicates
from ownlm.data.dedup.simhash import SimHash
from ownlm.data.flow.step import CorpusStep, Note, run_alone
from ownlm.errors import DataError, UsageError
from ownlm.records import Document, Drop

WORDS = [
    f"{a}{b}{c}"
    for a in "bdfgklmnprst"
    for b in "aeiou"
    for c in ("n", "rt", "ld", "sk", "mp", "ve", "th", "")
]


def documents(*texts: str, **meta: list) -> list[Document]:
    return [
        Document(
            f"d{number}", body, f"s{number}", meta={name: values[number] for name, values in meta.items()}
        )
        for number, body in enumerate(texts)
    ]


def kept(step: CorpusStep, items: list[Document]) -> list[str]:
    return [item.id for item in run_alone(step, items) if isinstance(item, Document)]


def prose(rng: random.Random, count: int) -> list[str]:
    return [rng.choice(WORDS) for _ in range(count)]


def planted(num_groups: int, seed: int) -> list[str]:
    """Texts of 80 to 300 words and copies of each with 1 to 12 of a hundred words replaced, in mixed order."""
    rng = random.Random(seed)
    texts = []
    for _ in range(num_groups):
        body = prose(rng, rng.randint(80, 300))
        texts.append(body)
        for _ in range(rng.randint(0, 3)):
            rate = rng.uniform(0.01, 0.12)
            texts.append([rng.choice(WORDS) if rng.random() < rate else word for word in body])
    rng.shuffle(texts)
    return [" ".join(body) for body in texts]


def true_pairs(texts: list[str], least: float) -> dict[tuple[int, int], float]:
    """All pairs by sets of the shingles themselves: no hash is involved."""
    sets = []
    for body in texts:
        row = body.split()
        sets.append({tuple(row[i : i + 5]) for i in range(max(1, len(row) - 4))})
    found = {}
    for a, b in combinations(range(len(texts)), 2):
        similarity = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        if similarity >= least:
            found[a, b] = similarity
    return found


def test_minhash_finds_planted_pairs_with_their_exact_similarity():
    texts = planted(100, seed=1)
    truth = true_pairs(texts, 0.6)
    found = {(pair.left, pair.right): pair.jaccard for pair in find_pairs(texts, MinHash(threshold=0.6))}
    assert set(found) <= set(truth)  # precision 1
    assert all(found[pair] == pytest.approx(truth[pair], abs=1e-9) for pair in found)
    for low, high, bar in ((0.6, 0.7, 0.93), (0.7, 0.8, 0.98), (0.8, 1.01, 0.99)):
        band = [pair for pair, similarity in truth.items() if low <= similarity < high]
        assert len(band) >= 10
        assert sum(pair in found for pair in band) >= bar * len(band), (low, len(band))


def test_minhash_step_keeps_one_of_each_group_and_says_of_which():
    texts = planted(60, seed=2)
    truth = true_pairs(texts, 0.7)
    output = run_alone(MinHash(), documents(*texts))
    names = [item.id for item in output if isinstance(item, Document)]
    gone = {item.source[1:]: item.reason for item in output if isinstance(item, Drop)}
    assert len(names) + len(gone) == len(texts) and gone
    for number, reason in gone.items():
        original = int(reason.removeprefix("near duplicate: of d"))
        assert (original, int(number)) in truth and f"d{original}" in names
    assert not [pair for pair in truth if {f"d{pair[0]}", f"d{pair[1]}"} <= set(names)]


def test_parts_and_presets_decide_alike():
    whole = documents(*planted(40, seed=3))
    for step in (
        MinHash(),
        MinHash(verify=False),
        MinHash(clusters="linked"),
        SimHash(),
        ExactDuplicates(),
        SemanticDuplicates(),
    ):
        alone = run_alone(step, whole)
        parts = [whole[:7], [], whole[7:30], whole[30:]]
        decided = step.decide([step.sketch(iter(part)) for part in parts])
        joined = [
            item for part, one in zip(parts, decided, strict=True) for item in step.apply(iter(part), one)
        ]
        assert joined == alone, step


def test_verification_in_rounds_is_the_same(monkeypatch):
    whole = documents(*planted(40, seed=4))
    alone = run_alone(MinHash(), whole)
    monkeypatch.setattr(minhash, "BUDGET", 500)
    assert run_alone(MinHash(), whole) == alone
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    assert run_alone(MinHash(), whole) == alone


def test_a_chain_loses_only_what_is_like_a_kept_one():
    rng = random.Random(6)
    body = prose(rng, 100)
    chain = [body]
    for step in range(3):  # each like the one before, the last not like the first
        chain.append(chain[-1][:])
        chain[-1][10 + 25 * step : 15 + 25 * step] = prose(rng, 5)
    texts = [" ".join(row) for row in chain]
    truth = true_pairs(texts, 0.7)
    assert (0, 1) in truth and (2, 3) in truth and (0, 3) not in truth
    assert kept(MinHash(), documents(*texts)) == ["d0", "d2"] if (0, 2) not in truth else ["d0", "d3"]
    assert kept(MinHash(clusters="linked"), documents(*texts)) == ["d0"]


def test_who_stays():
    rng = random.Random(7)
    body = prose(rng, 200)
    texts = [" ".join(body), " ".join([*body, "more"]), " ".join(body[:-1])]
    scored = documents(*texts, quality_score=[0.1, 0.5, 0.9])
    assert kept(MinHash(), scored) == ["d0"]
    assert kept(MinHash(keep="longest"), scored) == ["d1"]
    assert kept(MinHash(keep="best"), scored) == ["d2"]
    with pytest.raises(DataError, match="no quality score"):
        kept(MinHash(keep="best"), documents(*texts))


def test_texts_without_words_and_no_texts():
    empty = documents("", " \n", "...", "a", "b")
    for step in (MinHash(), MinHash(verify=False), SimHash(), SemanticDuplicates(min_words=1)):
        assert kept(step, empty) == ["d0", "d1", "d2", "d3", "d4"], step
        assert run_alone(step, []) == []
        assert list(step.decide([])) == []
    assert kept(ExactDuplicates(), empty) == ["d0", "d2", "d3", "d4"]


def test_a_template_copied_many_times_stays_cheap():
    body = prose(random.Random(8), 60)
    texts = [" ".join(body) + f" {number}" for number in range(800)]
    found = pairs.sharing([np.zeros(800, np.uint64)], np.arange(800), np.zeros(800))
    assert len(found.left) < pairs.LEADERS * 800 and found.num_capped == 1
    output = run_alone(MinHash(), documents(*texts))
    assert [item.id for item in output if isinstance(item, Document)] == ["d0"]
    assert isinstance(output[0], Note) and "first 32" in output[0].change


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] < pair[1])))
def test_greedy_and_linked_by_definition(edges):
    left, right = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    stay: list[int] = []
    for number in range(8):
        if not any((other, number) in edges for other in stay):
            stay.append(number)
    assert np.flatnonzero(pairs.greedy(left, right, 8) < 0).tolist() == stay
    groups = {number: {number} for number in range(8)}
    for a, b in edges:
        union = groups[a] | groups[b]
        for number in union:
            groups[number] = union
    expected = [-1 if min(groups[number]) == number else min(groups[number]) for number in range(8)]
    assert pairs.linked(left, right, 8).tolist() == expected


def test_exact_duplicates_and_their_options():
    texts = documents("One two", "one  two\n", "one\u00a0two", "onetwo", "One two")
    assert kept(ExactDuplicates(), texts) == ["d0", "d1", "d3"]
    assert kept(ExactDuplicates(case=False), texts) == ["d0", "d3"]
    assert kept(ExactDuplicates(white_space=True), texts) == ["d0", "d1", "d2", "d3"]
    (gone, *_) = [item for item in run_alone(ExactDuplicates(), texts) if isinstance(item, Drop)]
    assert gone.reason == "exact duplicate: of d1"


def test_ids_of_any_letters_and_changed_documents():
    twice = [Document("ключ \udc80 1", "same text", "a"), Document("2", "same text", "b")]
    step = ExactDuplicates()
    (decision,) = step.decide([step.sketch(iter(twice))])
    (_, gone) = step.apply(iter(twice), decision)
    assert gone.reason == "exact duplicate: of ключ ? 1"
    for other in (twice[:1], [*twice, *twice]):
        with pytest.raises(DataError, match="not those that were looked at"):
            list(step.apply(iter(other), decision))


@pytest.mark.parametrize("distance", [0, 1, 3, 5])
@pytest.mark.parametrize("count", [300, 9000])
def test_simhash_tables_find_all_near_fingerprints(distance, count):
    rng = np.random.default_rng(distance)
    base = rng.integers(0, 1 << 63, count, dtype=np.uint64)
    near = base[:60].copy()
    for _ in range(distance):
        near ^= np.uint64(1) << rng.integers(0, 64, 60).astype(np.uint64)
    far = base[60:120] ^ np.uint64((1 << (distance + 1)) - 1)
    prints = np.concatenate([base, near, far])
    found = simhash.near(prints, np.arange(len(prints)), np.zeros(len(prints)), distance)
    assert {*zip(found.left.tolist(), found.right.tolist(), strict=True)} == {
        (i, count + i) for i in range(60)
    }


def test_simhash_is_the_weighted_majority():
    features = words.shingles(["a b a c"], 1)[0]
    expected = sum(
        1 << bit for bit in range(64) if sum(2 * (value >> bit & 1) - 1 for value in features.tolist()) > 0
    )
    assert simhash.fingerprint(features) == expected


def test_simhash_step_drops_small_edits_only():
    rng = random.Random(9)
    body = prose(rng, 600)
    edited = body[:]
    edited[300] = "different"
    texts = documents(" ".join(body), " ".join(edited), " ".join(prose(rng, 600)), ", ".join(body).upper())
    assert kept(SimHash(max_distance=6), texts) == ["d0", "d2"]


def test_wrong_options_are_refused():
    for options in ({"verify": False, "threshold": 0.5}, {"threshold": 0}, {"clusters": "loose"}, {"bucket": 3},
                    {"buckets": 1, "rows": 2, "candidate_rows": 4}):  # fmt: skip
        with pytest.raises(ValidationError):
            MinHash(**options)
    with pytest.raises(ValidationError):
        SemanticDuplicates(embeddings="x.npy")
    for step in (
        MinHash(),
        MinHash(verify=False),
        SimHash(),
        SemanticDuplicates(),
    ):  # a stored one is read again
        assert type(step).model_validate(step.model_dump()) == step
    with pytest.raises(UsageError):
        find_pairs(["a"], MinHash(verify=False))


def test_given_embeddings_decide(tmp_path):
    angles = np.array([0.0, 0.1, 1.5, 1.6, 3.0])
    np.save(tmp_path / "e.npy", np.stack([np.cos(angles), np.sin(angles)], axis=1))
    (tmp_path / "ids.txt").write_text("d4\nd1\nd2\nd3\nd0\n")
    step = SemanticDuplicates(
        embeddings=tmp_path / "e.npy", embedding_ids=tmp_path / "ids.txt", threshold=0.99
    )
    assert kept(step, documents("a", "b", "c", "d", "e")) == ["d0", "d1", "d2"]
    with pytest.raises(DataError, match="no embedding"):
        kept(step, documents("a", "b", "c", "d", "e", "f"))
    np.save(tmp_path / "e.npy", np.ones((2, 2)))
    with pytest.raises(UsageError, match="do not fit"):
        kept(step, documents("a"))
