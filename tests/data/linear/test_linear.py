"""The linear scorer: features against a plain reference, training, calibration, files."""

import gzip
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from ownlm.data.linear import features, labels, model, ranking, train
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.records import Document

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
GOOD = "the river ran past an old mill where children learned to swim and read in summer evenings".split()
BAD = "buy cheap click now free offer login cart subscribe cookies menu share winner casino bonus".split()


def noisy(seed: int, count: int = 150, mix: float = 0.3) -> list[tuple[str, bool]]:
    rng = random.Random(seed)
    made = []
    for i in range(count):
        main, other = (GOOD, BAD) if i % 2 else (BAD, GOOD)
        words = [rng.choice(other if rng.random() < mix else main) for _ in range(30)]
        made.append((" ".join(words) + f" {i}", bool(i % 2)))
    return made


@pytest.fixture(scope="module")
def trained() -> model.Linear:
    return train.train(noisy(0), recipe=train.Recipe(bits=14))


def plain_word_hashes(data: bytes) -> list[int]:
    """Horner's rule from the back, one word at a time."""
    found, word = [], []
    for byte in [*data, 32]:
        if byte >= 128 or chr(byte).isalnum():
            word.append(byte)
        elif word:
            value = 0
            for letter in reversed(word):
                value = (value * features._BASE + letter) % (1 << 64)
            value = value * int(features._MIX) % (1 << 64)
            found.append(value ^ (value >> 32))
            word = []
    return found


def test_word_hashes_equal_the_plain_ones():
    rng = random.Random(5)
    for length in (0, 1, 7, 100, 3000):
        text = "".join(rng.choice("abcZ09 .,-ñж漢\n\t") for _ in range(length))
        for data in features.pieces(text):
            assert features.word_hashes(data, *features.word_edges(data)).tolist() == plain_word_hashes(data)


def test_long_and_strange_texts_come_in_bounded_pieces():
    for text in ("", "\ud800", "a" * 200_000, "漢" * 70_000):
        parts = list(features.pieces(text))
        assert all(len(part) <= features.PIECE for part in parts)
        assert b"".join(parts).decode("utf-8") == text.encode("utf-8", "replace").decode("utf-8")


def test_learns_is_calibrated_and_honest(trained):
    assert trained.report["auc"] > 0.97 and trained.report["auc_low"] <= trained.report["auc"]
    unseen = [(trained.score(text), good) for text, good in noisy(9)]
    assert np.mean([(score >= 0.5) == good for score, good in unseen]) > 0.9
    shuffled = [(text, bool(random.Random(text).random() < 0.5)) for text, _ in noisy(1, 400)]
    assert train.train(shuffled, recipe=train.Recipe(bits=14)).report["auc_low"] < 0.55  # nothing to learn


def test_order_and_repetition_do_not_matter(trained):
    rows = noisy(0)
    random.Random(1).shuffle(rows)
    again = train.train(rows + rows[:20], recipe=train.Recipe(bits=14))
    assert np.array_equal(again.weights, trained.weights) and again.offset == trained.offset
    assert again.report["repeated"] == 20


def test_too_few_texts_are_refused():
    with pytest.raises(DataError, match="too few"):
        train.train(noisy(0, 30))
    with pytest.raises(DataError, match="too few"):
        train.train([(text, True) for text, _ in noisy(0)])


def test_file_round_trip_and_damage(trained, tmp_path):
    path = tmp_path / "m.safetensors"
    model.write(path, trained)
    text = noisy(3)[0][0]
    assert model.load(path).score(text) == trained.score(text)
    with pytest.raises(UsageError):
        model.load(tmp_path / "absent")
    data = path.read_bytes()
    for cut in (b"", data[:100], data[:-7], b"\xff" * 64, data.replace(b"ownlm.linear.1", b"ownlm.linear.9")):
        path.write_bytes(cut)
        with pytest.raises(ArtifactError):
            model.load(path)


def test_area_equals_pairwise_comparison():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40) / 9, rng.integers(0, 7, 31) / 9
    pairs = [(x > y) + 0.5 * (x == y) for x in a for y in b]
    found = ranking.area(a, b)
    assert found.auc == pytest.approx(np.mean(pairs)) and found.low < found.auc < found.high
    assert ranking.area(np.ones(10), np.zeros(30)) == ranking.Area(1.0, 0.7, 1.0)
    assert ranking.precision_recall(np.array([0.9, 0.2]), np.array([0.8]), 0.5) == (0.5, 0.5)


def test_labels_are_understood_or_refused():
    def row(label):
        return [Document("a", "t", "a.jsonl#1", meta={"label": label})]

    assert [next(labels.from_rows(row(x)))[1] for x in (1, "good", True, "0", "bad", False, 1.0)] == [
        1,
        1,
        1,
        0,
        0,
        0,
        1,
    ]
    assert next(labels.from_rows(row("toxic"), positive="toxic"))[1]
    assert next(labels.from_rows(row(3.5), threshold=3.0))[1]
    for label, threshold in (("maybe", None), (None, None), ("good", 0.5), (3.5, None)):
        with pytest.raises(DataError, match=r"a\.jsonl#1"):
            next(labels.from_rows(row(label), threshold=threshold))


@pytest.mark.slow
def test_sentiment_of_real_sentences():
    """A hard labelled set: bag of n-grams reach about 0.82 here."""
    path = DATA / "sentiment" / "sentence_polarity.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no labelled sentences at {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [(row["text"], row["label"] == "pos") for row in map(json.loads, file)]
    assert train.train(rows).report["auc_low"] > 0.75
