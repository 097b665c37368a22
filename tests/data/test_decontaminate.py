"""Planted evaluation items are found, verbatim or lightly edited; what was not planted is left alone."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from growth import check_growth
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.decontaminate import Decontaminate
from ownlm.data.eval_index import EvalIndex, _aligned
from ownlm.data.eval_items import Item, files, items
from ownlm.data.flow.step import Note, run_alone
from ownlm.data.word_folding import fold, places
from ownlm.errors import DataError
from ownlm.records import Document, Drop
from ownlm.runtime.native import kernels

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
real = pytest.mark.skipif(not (DATA / "eval_gsm8k").is_dir(), reason="no test data: set OWNLM_TEST_DATA")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(rng: random.Random) -> str:
    return "".join(rng.choices(LETTERS, k=rng.randint(2, 7)))


def prose(rng: random.Random, count: int) -> list[str]:
    return [word(rng) for _ in range(count)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    rng = random.Random(7)
    rows = [prose(rng, rng.randint(13, 60)) for _ in range(200)]
    path = tmp_path_factory.mktemp("evals") / "test.jsonl"
    path.write_text("".join(json.dumps({"id": n, "q": " ".join(row)}) + "\n" for n, row in enumerate(rows)))
    return path, rows


def decide(step: Decontaminate, text: str) -> Document | Drop:
    (out,) = (one for one in run_alone(step, [Document("d", text, "s")]) if not isinstance(one, Note))
    return out


def edited(rng: random.Random, row: list[str], kind: str) -> str:
    row = list(row)
    at = rng.randrange(len(row))
    if kind == "word":
        row[at] = "banana"
    elif kind == "insert":
        row.insert(at, "banana")
    elif kind == "delete":
        del row[at]
    text = " ".join(row)
    if kind == "case":
        text = text.title()
    elif kind == "punctuation":
        text = ", ".join(row) + "!"
    elif kind == "accents":
        text = unicodedata.normalize("NFD", text.replace("e", "é"))
    elif kind == "labels":
        text = "A. " + " ".join(f"{one}\n(B)" if n % 9 == 8 else one for n, one in enumerate(row))
    return text


@pytest.mark.parametrize(
    "kind", ["none", "case", "punctuation", "accents", "labels", "word", "insert", "delete"]
)
def test_every_planted_item_is_found_and_named(planted: tuple[Path, list[list[str]]], kind: str) -> None:
    path, rows = planted
    step = Decontaminate(against=(path,))
    rng = random.Random(kind)
    for number, row in enumerate(rows, 1):
        around = prose(rng, 80)
        text = " ".join(around[:40]) + "\n" + edited(rng, row, kind) + "\n" + " ".join(around[40:])
        out = decide(step, text)
        assert isinstance(out, Drop) and out.reason.startswith(f"contaminated: test item {number} "), (
            kind,
            number,
        )
        assert ("exact" in out.reason) or kind in ("word", "insert", "delete")


def test_what_was_not_planted_passes_untouched(planted: tuple[Path, list[list[str]]]) -> None:
    path, rows = planted
    step = Decontaminate(against=(path,))
    rng = random.Random(1)
    for row in rows:
        shuffled = rng.sample(row, len(row))
        half = [one if n % 2 else word(rng) for n, one in enumerate(row)]  # every second word kept, in order
        short = row[:12] if len(row) > 26 else row[:5]  # less than an n-gram
        for text in (
            " ".join(shuffled),
            " ".join(half),
            " ".join(prose(rng, 20) + short + prose(rng, 20)),
            "",
            " . ",
        ):
            document = Document("d", text, "s")
            assert run_alone(step, [document]) == [document]


def test_thirteen_words_are_the_border_and_min_hits_moves_it(planted: tuple[Path, list[list[str]]]) -> None:
    path, rows = planted
    row = next(row for row in rows if len(row) > 40)
    for length, min_hits, dropped in (
        (12, 1, False),
        (13, 1, True),
        (13, 2, False),
        (14, 2, True),
        (20, 9, False),
    ):
        step = Decontaminate(against=(path,), fuzzy=False, min_hits=min_hits)
        text = " ".join(["before"] * 30 + row[3 : 3 + length] + ["after"] * 30)
        assert isinstance(decide(step, text), Drop) is dropped, (length, min_hits)


def test_cut_removes_the_span_and_nothing_else(planted: tuple[Path, list[list[str]]]) -> None:
    path, rows = planted
    step = Decontaminate(against=(path,), action="cut")
    before, after = "Vor dem Ort, schön & gut:  ", "\n— danach geht’s weiter."
    out = run_alone(
        step, [Document("d", before + " ".join(rows[4]).upper() + after, "s", "MIT", {"url": "u"})]
    )
    assert out[0] == Note("contaminated spans cut", 1)
    kept = out[1]
    assert isinstance(kept, Document) and kept.text == before + after and kept.licence == "MIT"
    assert kept.meta == {"url": "u", "contaminated": "test item 5 (exact)"}
    assert isinstance(decide(step, " ".join(rows[4])), Drop)  # nothing is left


def test_forms_and_short_items_are_no_evidence(tmp_path: Path) -> None:
    rng = random.Random(2)
    form = "Which one of the following statements about this is not correct?"
    rows = [{"instruction": form, "question": " ".join(prose(rng, 15))} for _ in range(30)]
    (tmp_path / "forms.json").write_text(json.dumps(rows + [{"q": "Too short to tell?"}]))
    step = Decontaminate(against=(tmp_path,))
    assert isinstance(decide(step, f"We ask: {form} Then we go on."), Document)
    assert isinstance(decide(step, rows[3]["question"]), Drop)
    facts = step.facts()
    assert facts.num_items == 31 and facts.too_short == ["forms item 31"] and facts.num_templates == 30


def test_formats_of_items_and_their_names(tmp_path: Path) -> None:
    texts = [" ".join(prose(random.Random(n), 16)) for n in range(8)]
    (tmp_path / "sub").mkdir()
    with gzip.open(tmp_path / "sub" / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps({"x": {"deep": [texts[0]]}}) + "\n\n" + json.dumps([texts[1], 3, None]) + "\n")
    (tmp_path / "b.csv").write_text(f'id,q\n1,"{texts[2]}"\n2,"{texts[3]}"\n')
    (tmp_path / "c.txt").write_text(f"{texts[4]}\n\n{texts[5]}\n")
    squad = {"data": [{"title": "t", "paragraphs": [{"context": texts[6], "qas": [{"question": texts[7]}]}]}]}
    (tmp_path / "d.json").write_text(json.dumps(squad))
    (tmp_path / "README.md").write_text("not items")
    found, others = files([tmp_path])
    assert others == [tmp_path / "README.md"] and len(found) == 4
    names = {text: item.name for file in found for item in items(file) for text in item.pieces}
    assert [names[text] for text in texts] == [
        "sub/a item 1", "sub/a item 3", "b item 1", "b item 2", "c item 1", "c item 2",
        "d item data[0].paragraphs[0]", "d item data[0].paragraphs[0].qas[0]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b'{"q": "x"\n'), ("a.json", b"[" * 100_000), ("a.json.gz", b"\x1f\x8b\x08"), ("a.txt", b"\xff\xfe"),
     ("a.pdf", b"x"), ("short.txt", b"too short")],
)  # fmt: skip
def test_items_that_cannot_be_read_stop_the_run(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        decide(Decontaminate(against=(tmp_path / name,)), "text")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.text(
        alphabet=st.sampled_from(list("aZ09 .,'’-_\n\u00ad\u0301éÅﬁ½ß字かไทั漢😀\U00020000\ud800İǅ")),
        max_size=40,
    )
)
def test_places_stand_where_the_words_stand(text: str) -> None:
    words, spans = fold(text), places(text)
    assert len(words) == len(spans)
    end = 0
    for folded, (start, stop) in zip(words, spans):
        assert end <= start < stop and fold(text[start:stop]) == [folded]
        end = stop


def test_alignment_agrees_with_trying_everything() -> None:
    """Best count over one shift before the anchor, from a point on, and one after it, up to a point."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        width = int(rng.integers(5, 14))
        wanted = rng.integers(1, 4, width)
        document = rng.integers(1, 4, 40)
        anchor, at = int(rng.integers(0, width)), int(rng.integers(0, 25))

        equal = {
            (k, s): 0 <= at + k + s < 40 and document[at + k + s] == wanted[k]
            for k in range(width)
            for s in (-2, -1, 0, 1, 2)
        }

        def count(start: int, stop: int, shift: int, equal: dict[tuple[int, int], bool] = equal) -> int:
            return sum(equal[k, shift] for k in range(start, stop))

        left = max(count(0, t, s) + count(t, anchor, 0) for s in (-2, -1, 0, 1, 2) for t in range(anchor + 1))
        right = max(
            count(anchor, t, 0) + count(t, width, s)
            for s in (-2, -1, 0, 1, 2)
            for t in range(anchor + 1, width + 1)
        )
        got = _aligned(document, wanted, np.array([at]), np.array([0]), np.array([anchor]), np.array([width]))
        assert got[0] == left + right


@pytest.mark.skipif(kernels() is None, reason="the native kernels are not built")
def test_the_kernel_finds_the_seeds_that_its_reference_finds() -> None:
    rng = np.random.default_rng(4)
    words = [f"word{number}" for number in range(50)]
    index = EvalIndex((Item(f"item {n}", (" ".join(rng.choice(words, 40)),)) for n in range(200)), 13, 0.8)
    for length in (0, 4, 5, 6, 300, 5000):
        ids = rng.integers(0, 52, length, dtype=np.uint32)
        copied = index._words[: length // 2]
        ids[: len(copied)] = copied
        places, hashes = kernels().seed_places(ids, index._bitmap, int(index._shift), index._seeds)
        wanted, wanted_hashes = index.seed_places(ids)
        assert places.tolist() == wanted.tolist() and hashes.tolist() == wanted_hashes.tolist()
        assert length < 300 or len(places)
    with pytest.raises(ValueError):
        kernels().seed_places(ids, index._bitmap[1:], int(index._shift), index._seeds)


def test_exact_copies_are_exact_though_their_seeds_are_frequent(tmp_path: Path) -> None:
    rng = random.Random(3)
    often = "how many apples does she have".split()
    rows = [prose(rng, 8) + often + prose(rng, 8) for _ in range(100)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"q": " ".join(row)}) + "\n" for row in rows))
    step = Decontaminate(against=(tmp_path / "t.jsonl",), fuzzy=False)
    for number, row in enumerate(rows, 1):
        out = decide(step, " ".join(["x1", *row[1:20], "x2"]))
        assert isinstance(out, Drop) and out.reason == f"contaminated: t item {number} (exact)"
    cut = Decontaminate(against=(tmp_path / "t.jsonl",), fuzzy=False, action="cut")
    kept = decide(cut, " ".join(["x1", *rows[5][8:], "x2"]))  # begins with the frequent words
    assert isinstance(kept, Document) and kept.text == "x1  x2"


def test_hostile_texts_take_linear_time(planted: tuple[Path, list[list[str]]], tmp_path: Path) -> None:
    rng = random.Random(4)
    often = prose(rng, 6)
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps({"q": " ".join(prose(rng, 9) + often + prose(rng, 9))}) + "\n" for _ in range(60))
    )
    step = Decontaminate(against=(tmp_path / "t.jsonl",))
    step.facts()
    for unit in (" ".join(often) + " ", "x", "é", "' ", "a ", "\u0301"):

        def seconds(num: int, unit: str = unit) -> float:
            began = time.process_time()
            decide(step, unit * (num // len(unit)))
            return time.process_time() - began

        check_growth(seconds, 1 << 11, 1 << 15, most=64, floor=0.002)


def _documents(limit: int) -> list[str]:
    texts = []
    for path in sorted((DATA / "text_techdocs").glob("*.en.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            texts += [json.loads(line)["text"] for line, _ in zip(file, range(limit))]
    with gzip.open(DATA / "text_books" / "adventures-of-sherlock-holmes.txt.gz", "rt") as file:
        book = file.read(4000 * limit)
    return texts + [book[at : at + 4000] for at in range(0, len(book), 4000)]


@real
@pytest.mark.parametrize(
    "name", ["eval_mmlu/dev.jsonl.gz", "eval_gsm8k/test.part.jsonl.gz", "qa_xquad/xquad.en.json.gz"]
)
def test_real_items_in_real_documents(name: str) -> None:
    rng = random.Random(11)
    texts = _documents(30)
    step = Decontaminate(against=(DATA / name,))
    assert not any(isinstance(decide(step, text), Drop) for text in texts)
    pieces = [
        piece
        for file in files([DATA / name])[0]
        for item in items(file)
        for piece in item.pieces
        if len(fold(piece)) >= 13 and len(set(fold(piece))) > 8 and not re.fullmatch(r"[\W\d_]*", piece)
    ]
    found = {"exact": 0, "light": 0}
    sample = rng.sample(sorted(set(pieces)), 60)
    for piece in sample:
        text = rng.choice(texts)
        cut = rng.randrange(len(text) + 1)
        light = edited(rng, piece.split(), rng.choice(["case", "punctuation", "word", "insert", "delete"]))
        for kind, plant in (("exact", piece), ("light", light)):
            found[kind] += isinstance(decide(step, f"{text[:cut]}\n{plant}\n{text[cut:]}"), Drop)
    assert found["exact"] == len(sample)
    assert found["light"] >= 0.95 * len(sample)
