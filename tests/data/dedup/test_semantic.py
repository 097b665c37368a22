"""Paraphrases: planted by swapping words that the corpus uses alike and by moving sentences about."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from ownlm.data.dedup import embed, semantic
from ownlm.data.dedup.minhash import find_pairs
from ownlm.data.dedup.semantic import SemanticDuplicates
from ownlm.data.flow.step import run_alone
from ownlm.records import Document, Drop

WIDE = 300  # words of a made-up topic
DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
SYNONYMS = """big large|small little|fast quick|start begin|finish end|help assist|use employ|show display|make create
get obtain|find discover|need require|important significant|many numerous|however nevertheless|method approach
problem issue|change alter|part portion|choose select|buy purchase|easy simple|hard difficult|good excellent|bad poor
people persons|work function|look appear|give provide|keep retain|build construct|answer reply|ask inquire|think believe
try attempt|usually typically|often frequently|about approximately|whole entire|right correct|place location|car automobile
house home|happy glad|mistake error|way manner|type kind|result outcome|idea concept|different distinct|same identical
main primary|number amount|called named|several multiple|increase rise|decrease reduce|world globe|country nation
city town|story tale|film movie|author writer|famous renowned|rich wealthy|old ancient|strong powerful"""


def documents(texts: list[str]) -> list[Document]:
    return [Document(str(number), text, str(number)) for number, text in enumerate(texts)]


def dropped(step: SemanticDuplicates, texts: list[str]) -> dict[int, int]:
    output = run_alone(step, documents(texts))
    gone = [item for item in output if isinstance(item, Drop)]
    return {int(item.source): int(item.reason.removeprefix("same meaning: of ")) for item in gone}


def made_up(rng: random.Random, count: int) -> tuple[list[str], dict[str, str]]:
    """Texts over 8 topics, in which every third word of a topic has a synonym that takes its place half of the time."""
    topics = [[f"t{topic}w{number}" for number in range(WIDE)] for topic in range(8)]
    swap = {word: f"{word}x" for words in topics for word in words[::3]}
    texts = []
    for number in range(count):
        words = topics[number % 8]
        sentences = []
        for _ in range(12):
            at = rng.randrange(WIDE)  # neighbors in the list go together: what gives words a meaning here
            row = [words[(at + rng.randrange(8)) % WIDE] for _ in range(10)]
            sentences.append(" ".join(swap[w] if w in swap and rng.random() < 0.5 else w for w in row) + ".")
        texts.append(" ".join(sentences))
    return texts, {**swap, **{b: a for a, b in swap.items()}}


def test_swapped_synonyms_and_moved_sentences_are_found():
    rng = random.Random(1)
    texts, swap = made_up(rng, 200)
    originals = len(texts)
    for text in texts[:25]:
        sentences = [" ".join(swap.get(word, word) for word in row.split()) for row in text.split(".") if row]
        rng.shuffle(sentences)
        texts.append(". ".join(sentences))
    gone = dropped(SemanticDuplicates(), texts)
    assert gone == {originals + number: number for number in range(25)}
    assert not find_pairs(texts)  # no shingle method sees them
    sketch = SemanticDuplicates().sketch(iter(documents(texts)))
    vectors = embed.learn([sketch], 1).embed(sketch["tokens"], sketch["ends"])
    halves = [vectors[:, : embed.WIDTH], vectors[:, embed.WIDTH :]]
    spelling, meaning = (
        float(np.mean((half[:25] * half[originals:]).sum(axis=1) / (half[0] @ half[0]))) for half in halves
    )
    assert meaning > 0.95 > 0.85 > spelling  # it is the learned half that knows the synonyms


def test_groups_of_large_corpora_keep_the_pairs(monkeypatch):
    rng = np.random.default_rng(2)
    base = rng.standard_normal((900, 24)).astype(np.float32)
    vectors = np.concatenate([base, base[:200] + 0.05 * rng.standard_normal((200, 24)).astype(np.float32)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    everything = semantic.near(vectors, 0.95, 1)
    expected = {(number, 900 + number) for number in range(200)}
    assert {*zip(everything.left.tolist(), everything.right.tolist(), strict=True)} == expected
    monkeypatch.setattr(semantic, "GROUP", 60)
    monkeypatch.setattr(semantic, "BLOCK", 37)
    grouped = semantic.near(vectors, 0.95, 1)
    found = {*zip(grouped.left.tolist(), grouped.right.tolist(), strict=True)}
    assert found <= expected and len(found) >= 195


def test_many_copies_are_compared_with_the_first_ones_only():
    vectors = np.tile(np.array([[1.0, 0.0]], np.float32), (200, 1))
    found = semantic.near(vectors, 0.9, 1)
    assert len(found.left) <= semantic.MOST * 200 and found.num_capped == 200 - semantic.MOST - 1
    assert {*found.right.tolist()} == set(range(1, 200))


def test_random_signs_keep_the_cosine():
    rng = np.random.default_rng(4)
    numbers = rng.integers(0, 1 << 32, 400).astype(np.uint32)
    a, b = numbers[:250], numbers[100:350]
    x, y = embed.signs(a).sum(axis=0), embed.signs(b).sum(axis=0)
    cosine = float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert abs(cosine - 150 / 250) < 4 / np.sqrt(embed.WIDTH)


def test_sparse_products_are_those_of_the_dense_matrix():
    rng = np.random.default_rng(5)
    dense = rng.standard_normal((30, 30)) * (rng.random((30, 30)) < 0.2)
    rows, columns = np.nonzero(dense)
    matrix = embed._Sparse(rows, columns, dense[rows, columns].astype(np.float32), 30)
    other = rng.standard_normal((30, 7)).astype(np.float32)
    np.testing.assert_allclose(matrix @ other, dense @ other, atol=1e-5)
    np.testing.assert_allclose(matrix.transposed() @ other, dense.T @ other, atol=1e-5)


@pytest.mark.slow
def test_paraphrases_of_real_answers():
    """Recall on planted paraphrases at the default threshold; every other pair found would be a false one or a
    duplicate that the set itself has.
    """
    path = DATA / "instruct_demos" / "dolly_hhrlhf_small.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path}: set OWNLM_TEST_DATA to the public test data")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [" ".join(json.loads(line).values()) for line in file]
    texts = [text for text in rows if 60 <= len(text.split()) <= 500]
    swap = {}
    for pair in re.split(r"[|\n]", SYNONYMS):
        a, b = pair.split()
        swap.update({a: b, b: a})
    rng, originals = random.Random(3), len(texts)
    for text in texts[: originals // 3]:
        sentences = re.split(r"(?<=[.!?\n])\s+", text)
        rng.shuffle(sentences)
        words = [swap.get(word.lower(), word) for word in " ".join(sentences).split()]
        texts.append(" ".join("rather" if rng.random() < 0.1 else word for word in words))
    gone = dropped(SemanticDuplicates(), texts)
    right = sum(gone.get(originals + number) == number for number in range(originals // 3))
    assert right >= 0.98 * (originals // 3)
    assert len(gone) - right <= 0.02 * len(gone)
