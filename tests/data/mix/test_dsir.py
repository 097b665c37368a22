"""DSIR comes closer to its target than chance, does what the formula says, and does not depend on order or parts."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from growth import check_growth

from ownlm.data.flow.step import run_alone
from ownlm.data.mix import hashed_ngrams
from ownlm.data.mix.dsir import Dsir, corpus_counts, kl_to_target
from ownlm.data.mix.target import read_texts
from ownlm.errors import DataError, UsageError
from ownlm.records import Document

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
COOKING = "salt flour butter oven bake stir sugar dough pan heat slice onion simmer whisk".split()
LAW = "court statute appeal clause plaintiff ruling judge evidence contract liability tort brief".split()
COMMON = "the of and to in a is that for it with as was on be at by this".split()


def text(rng: random.Random, topic: list[str], words: int) -> str:
    return " ".join(rng.choice(topic if rng.random() < 0.4 else COMMON) for _ in range(words))


@pytest.fixture
def target(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "target.jsonl"
    path.write_text("\n".join(json.dumps({"text": text(rng, COOKING, 80)}) for _ in range(40)))
    return path


def corpus(count=400) -> list[Document]:
    rng = random.Random(2)
    return [
        Document(f"{'cook' if n % 4 == 0 else 'law'}{n}", text(rng, COOKING if n % 4 == 0 else LAW, rng.randint(30, 120)), "s")
        for n in range(count)
    ]  # fmt: skip


def selected(output) -> list[Document]:
    return [item for item in output if isinstance(item, Document)]


def test_kl_to_the_target_is_lower_than_that_of_random_choice(target):
    documents = corpus()
    step = Dsir(target=target, keep=0.2, per_ngram=False, seed=1)
    output = run_alone(step, documents)
    chosen = selected(output)
    assert len(chosen) == 80 and len(output) == 400
    assert sum(d.id.startswith("cook") for d in chosen) >= 75
    wanted = corpus_counts(read_texts(target), 10_000, "")

    def kl(documents):
        return kl_to_target(corpus_counts(iter([d.text for d in documents]), 10_000, ""), wanted)

    rng = random.Random(0)
    at_random = [kl(rng.sample(documents, 80)) for _ in range(20)]
    assert kl(chosen) < 0.5 * min(at_random)


@pytest.mark.skipif(
    not (DATA / "text_techdocs").is_dir(), reason="no public test data: set OWNLM_TEST_DATA to its folder"
)
@pytest.mark.parametrize("wanted", ["vue-docs.en", pytest.param("rust-book.en", marks=pytest.mark.slow),
                                    pytest.param("react-docs.en", marks=pytest.mark.slow)])  # fmt: skip
def test_real_documentation_towards_one_project(tmp_path, wanted):
    """English pages of four projects in pieces of 128 words, as in the paper; the target is every second page of one."""
    pieces: dict[str, list[str]] = {"target": []}
    for name in ("rust-book.en", "vue-docs.en", "react-docs.en", "cpython-docs.en"):
        with gzip.open(DATA / "text_techdocs" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            pages = [json.loads(line)["text"] for line in islice(file, 30)]
        for number, page in enumerate(pages):
            words = page.split()[:3000]
            parts = [" ".join(words[n : n + 128]) for n in range(0, len(words), 128)]
            pieces.setdefault("target" if name == wanted and number % 2 else name, []).extend(parts)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in pieces.pop("target")))
    documents = [Document(f"{name}{n}", t, name) for name, ts in pieces.items() for n, t in enumerate(ts)]
    count = len(pieces[wanted])
    chosen = selected(run_alone(Dsir(target=tmp_path / "t.jsonl", keep=count, seed=1), documents))
    target_counts = corpus_counts(read_texts(tmp_path / "t.jsonl"), 10_000, "")

    def kl(picked):
        return kl_to_target(corpus_counts(iter([d.text for d in picked]), 10_000, ""), target_counts)

    rng = random.Random(0)
    at_random = [kl(rng.sample(documents, count)) for _ in range(5)]
    precision = sum(d.source == wanted for d in chosen) / count
    assert len(chosen) == count and kl(chosen) < 0.8 * min(at_random), (kl(chosen), at_random)
    assert precision > 1.5 * count / len(documents), precision


def test_weights_are_those_of_the_formula(target):
    """log weight = sum over n-grams of log p_target - log p_raw, with the counts made word by word here."""
    documents = corpus(40)
    buckets = 64
    step = Dsir(target=target, keep=1000, buckets=buckets)
    chosen = selected(run_alone(step, documents))
    assert len(chosen) == 40

    def grams(text):
        words = hashed_ngrams.word_hashes(text)
        numbers = dict(hashed_ngrams_by_word(text))
        assert len(words) == len(text.split())
        return numbers

    def hashed_ngrams_by_word(text):
        numbers, counts = hashed_ngrams.features(text, buckets)
        return zip(numbers.tolist(), counts.tolist(), strict=True)

    def model(texts):
        total = np.ones(buckets)
        for one in texts:
            for number, count in grams(one).items():
                total[number] += count
        return total / total.sum()

    wanted, raw = model(read_texts(target)), model([d.text for d in documents])
    for document in chosen:
        expected = sum(c * np.log(wanted[n] / raw[n]) for n, c in grams(document.text).items())
        assert document.meta["dsir_log_weight"] == pytest.approx(expected, abs=2e-6)


def test_parts_and_order_do_not_matter(target):
    documents = [*corpus(120), Document("empty", "", "s"), Document("spaces", " \n\t", "s")]
    step = Dsir(target=target, keep=30, seed=5)
    whole = run_alone(step, documents)
    parts = [documents[:1], [], documents[1:70], documents[70:]]
    decisions = step.decide([step.sketch(iter(part)) for part in parts])
    apart = [
        x for part, decision in zip(parts, decisions, strict=True) for x in step.apply(iter(part), decision)
    ]
    assert apart == whole
    random.Random(0).shuffle(documents)
    assert {d.id for d in selected(run_alone(step, documents))} == {d.id for d in selected(whole)}
    assert {
        d.id for d in selected(run_alone(Dsir(target=target, keep=30, seed=6, temperature=30), documents))
    } != {d.id for d in selected(whole)}


def test_gumbel_top_k_samples_in_proportion_to_the_weights(target):
    """Keeping 1 of 3 documents over 1,200 seeds: shares near the softmax of the weights."""
    documents = corpus(3)
    near = [Document(str(n), d.text[:30], "s") for n, d in enumerate(documents)]
    first = selected(run_alone(Dsir(target=target, keep=3, buckets=64), near))
    weights = np.exp([d.meta["dsir_log_weight"] for d in first])
    step = Dsir(target=target, keep=1, buckets=64)
    sketch = {**step.sketch(iter(near))}
    counts = np.zeros(3)
    for seed in range(1200):
        reseeded = step.model_copy(update={"seed": seed})
        sketch["noise"] = np.array([reseeded._gumbel(d.id) for d in near])
        counts += reseeded.decide([sketch])[0]["kept"]
    assert counts / 1200 == pytest.approx(weights / weights.sum(), abs=0.05)


def test_words_hash_as_words():
    hashes = hashed_ngrams.word_hashes
    assert hashes("").size == hashes(" \t\n").size == 0
    a = hashes("The quick, brown fox — naïve café 東京 x2")
    b = hashes("  THE\nquick ,brown\tFOX —  NAÏVE café 東京   x2 ")
    assert a.tolist() == b.tolist() and len(set(a.tolist())) == len(a) == 10
    long = "word " * 50_000  # beyond one piece of the power table: the same word, the same hash
    assert set(hashes(long).tolist()) == set(hashes("word").tolist())
    for size in (65_530, 65_536, 65_540, 200_000):  # words and spaces across the edges of pieces
        for inside in ("x" * 20, " " * 20, " x ,"):
            text = "y" * size + inside + "z" * size
            parts = [w.replace(" ", "") for w in text.replace(",", " , ").split()]
            assert hashes(text).tolist() == [int(hashes(w)[0]) for w in parts]
    rng = random.Random(0)
    words = ["".join(rng.choice("abc") for _ in range(rng.randint(1, 6))) for _ in range(2000)]
    by_hash: dict[int, str] = {}
    for word, value in zip(words, hashes(" ".join(words)).tolist(), strict=True):
        assert by_hash.setdefault(value, word) == word
    assert len(by_hash) == len(set(words))


def test_features_count_unigrams_and_bigrams():
    """Counted one by one, over a text of several pieces; every bigram by its two words."""
    vocabulary = ["".join(random.Random(n).choices("abcdefgh", k=20 + n)) for n in range(12)]
    words = random.Random(3).choices(vocabulary, k=8000)
    buckets = 5000
    one = {word: int(hashed_ngrams.word_hashes(word)[0]) % buckets for word in vocabulary}
    expected = np.zeros(buckets, np.int64)
    for word in words:
        expected[one[word]] += 1
    for (a, b), times in Counter(zip(words[:-1], words[1:], strict=True)).items():
        numbers, counts = hashed_ngrams.features(f"{a} {b}", buckets)
        pair = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        for word in (a, b):
            pair[one[word]] -= 1
        (bucket,) = (number for number, count in pair.items() if count)
        expected[bucket] += times
    text = " ".join(words)
    numbers, counts = hashed_ngrams.features(text, buckets)
    assert len(text) > 3 * (1 << 16)
    assert np.array_equal(numbers, np.flatnonzero(expected)) and np.array_equal(counts, expected[numbers])


@pytest.mark.parametrize("unit", ["a", " ", "a ", ",", "é", "\x00", "a,"])
def test_linear_time_on_hostile_text(unit):
    def seconds(size):
        begin = time.process_time()
        hashed_ngrams.features(unit * (size // len(unit)), 10_000)
        return time.process_time() - begin

    check_growth(seconds, 1 << 16, 1 << 20, most=64)


def test_targets_that_cannot_be_used(tmp_path):
    with gzip.open(tmp_path / "t.txt.gz", "wt") as file:
        file.write("hello there")
    assert list(read_texts(tmp_path / "t.txt.gz")) == ["hello there"]
    for name, content, error in (
        ("a.bin", b"x", UsageError), ("b.jsonl", b'{"no": 1}', DataError), ("c.jsonl", b"{", DataError),
        ("d.txt", b"\xff\xfe", DataError), ("e.txt.gz", b"no gzip", DataError),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error):
            list(read_texts(tmp_path / name))
    with pytest.raises(UsageError, match="exist"):
        list(read_texts(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="no words"):
        (tmp_path / "f.txt").write_text("  ")
        run_alone(Dsir(target=tmp_path / "f.txt", keep=1), corpus(2))
