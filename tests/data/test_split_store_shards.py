"""Held-out documents are chosen by hash; stores and shards give back what was put in, or say what is wrong."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from ownlm.data import shards, split, store
from ownlm.errors import ArtifactError
from ownlm.records import Document


def corpus(count: int, **meta) -> list[Document]:
    return [
        Document(f"id{n}", f"text {n} é\n" * (5 + n % 7), f"f{n}.md", "MIT", dict(meta)) for n in range(count)
    ]


def heldout(documents, fraction=0.1, seed=0) -> set[str]:
    pairs = list(split.divide(documents, fraction, seed))
    assert [document for document, _ in pairs] == list(documents)
    return {document.id for document, held in pairs if held}


@pytest.mark.parametrize(("count", "fraction", "wanted"), [(0, 0.1, 0), (1, 0.1, 0), (2, 0.1, 1), (10, 0.1, 1), (10, 0.05, 1),
                                                          (300, 0.05, 15)])  # fmt: skip
def test_small_corpora_hold_out_exactly(count, fraction, wanted):
    for seed in range(5):
        assert len(heldout(corpus(count), fraction, seed)) == wanted


def test_the_choice_ignores_order_and_follows_the_seed():
    documents = corpus(200)
    shuffled = documents[:]
    random.Random(1).shuffle(shuffled)
    assert heldout(documents) == heldout(shuffled)
    assert heldout(documents, seed=1) != heldout(documents, seed=2)


def test_large_corpora_use_the_pure_rule():
    documents = corpus(3000)
    chosen = heldout(documents)
    assert chosen == {item.id for item in documents if split.is_heldout(item, 0.1, 0)}
    assert 200 < len(chosen) < 400
    assert heldout(documents[:2000]) == chosen & {item.id for item in documents[:2000]}


def test_siblings_stay_together():
    rows = [Document(f"{n}-{lang}", f"{n} {lang} words " * 9, f"s/{n}", meta={"group": f"s/{n}", "lang": lang})
            for n in range(40) for lang in "abc"]  # fmt: skip
    names = {name.split("-")[0] for name in heldout(rows)}
    assert heldout(rows) == {f"{n}-{lang}" for n in names for lang in "abc"} and len(names) == 4
    files = [
        Document(f"{n}{end}", "words " * 30, f"d/{n}{end}")
        for n in range(30)
        for end in (".md", ".html", ".txt.gz")
    ]
    assert len({name.split(".")[0] for name in heldout(files)}) * 3 == len(heldout(files))


def test_one_path_for_all_rows_and_one_giant_document():
    assert len(heldout(corpus(20, group="same"))) == 2
    giant = [*corpus(9), Document("giant", "word " * 100_000, "giant.txt")]
    assert all("giant" not in heldout(giant, seed=seed) for seed in range(20))


def test_store_round_trip_is_exact_and_deterministic(tmp_path):
    documents = [
        *corpus(50),
        Document("x", "line\u2028sep \U0001f600 \x00", "ü/ß.txt", "unknown", {"a": [1, None, {"b": 2.5}]}),
    ]
    for name in "ab":
        assert store.write_documents(tmp_path / name, documents) == 51
    assert list(store.read_documents(tmp_path / "a")) == documents
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    store.write_documents(tmp_path / "none", [])
    assert list(store.read_documents(tmp_path / "none")) == []


def test_store_notices_damage(tmp_path):
    rng = random.Random(0)
    documents = [Document(str(n), rng.randbytes(200).hex(), "s") for n in range(2000)]
    store.write_documents(tmp_path / "s", documents)
    data = (tmp_path / "s").read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for wrong in (data[: len(data) // 2], data[:-3], b"", bytes(flipped), b"no zstandard"):
        (tmp_path / "w").write_bytes(wrong)
        with pytest.raises(ArtifactError):
            list(store.read_documents(tmp_path / "w"))
    with pytest.raises(ArtifactError, match="missing"):
        list(store.read_documents(tmp_path / "nowhere"))


def encode(texts: list[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]


@pytest.mark.parametrize(("vocab_size", "itemsize"), [(300, 2), (65_536, 2), (65_537, 4)])
def test_shards_round_trip(tmp_path, vocab_size, itemsize):
    documents = [*corpus(40), Document("empty", "", "e.txt"), *corpus(3)]
    info = shards.write_shards(tmp_path / "train", iter(documents), encode, vocab_size - 1, vocab_size)
    read = shards.Shards(tmp_path / "train")
    assert read.info == info and read.tokens.itemsize == itemsize
    assert read.num_bytes == sum(len(item.text.encode()) for item in documents)
    assert read.num_tokens == read.num_bytes + len(documents)
    for number, item in enumerate(documents):
        ids = read.document_tokens(number)
        assert ids[0] == vocab_size - 1 and bytes(ids[1:].astype(np.uint8)).decode() == item.text
        start = int(read.document_starts[number])
        assert read.document_at(start) == read.document_at(start + len(ids) - 1) == (item.id, item.source)
        assert read.document(number) == (item.id, item.source, item.licence)
        assert read.document_bytes[number] == len(item.text.encode())
    for offset in (-1, read.num_tokens):
        with pytest.raises(IndexError):
            read.document_at(offset)


def test_shards_of_nothing_and_with_a_foreign_tokenizer(tmp_path):
    assert shards.write_shards(tmp_path / "none", [], encode, 256, 300).num_tokens == 0
    assert len(shards.Shards(tmp_path / "none").tokens) == 0
    with pytest.raises(ArtifactError, match="outside the vocabulary"):
        shards.write_shards(tmp_path / "t", corpus(2), encode, 99, 100)
    with pytest.raises(ArtifactError, match="lost a text"):
        shards.write_shards(tmp_path / "t", corpus(2), lambda texts: encode(texts)[:1], 256, 300)
    assert not list(tmp_path.glob("t*"))


def test_shards_notice_damage(tmp_path):
    shards.write_shards(tmp_path / "t", corpus(5), encode, 256, 300)
    bin_path, index = tmp_path / "t.bin", tmp_path / "t.index.npy"
    for path in (bin_path, index, tmp_path / "t.index.json"):
        data = path.read_bytes()
        for wrong in (data[:-4], b""):
            path.write_bytes(wrong)
            with pytest.raises(ArtifactError):
                shards.Shards(tmp_path / "t")
        path.write_bytes(data)
    facts = json.loads((tmp_path / "t.index.json").read_text())
    (tmp_path / "t.index.json").write_text(json.dumps({**facts, "num_documents": 4}))
    with pytest.raises(ArtifactError, match="header"):
        shards.Shards(tmp_path / "t")
