"""Traces over a real overlap index: every span verified character by character on the documents."""

from __future__ import annotations

import json
import random

import pytest

from ownlm.data import overlap
from ownlm.data.overlap import Overlap
from ownlm.errors import ArtifactError
from ownlm.govern.trace import Trace, shared, trace
from ownlm.records import Document, Passage


def words(seed: int, count: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(count))


TRAIN = [
    Document("a", words(1, 300), "a.txt", "MIT"),
    Document("b", words(2, 300) + "\n\n  " + words(1, 300)[500:600], "b.txt", "PSF-2.0"),
    Document("c", "ünïcödé " * 3 + words(3, 100), "c.txt", "unknown"),
]
HELDOUT = Document("h", words(4, 200), "h.txt", "MIT")


class Store:
    def __init__(self, *documents: Document) -> None:
        self.documents = {document.id: document for document in documents}

    def document(self, document_id: str) -> Document | None:
        return self.documents.get(document_id)


STORE = Store(*TRAIN, HELDOUT)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Overlap:
    folder = tmp_path_factory.mktemp("overlap")
    overlap.build(TRAIN, folder)
    return Overlap(folder)


def check(found: Trace) -> None:
    for span in found.spans:
        document = STORE.documents[span.document_id]
        assert found.answer[span.start : span.end] == span.text
        there = document.text[span.document_start : span.document_end]
        assert " ".join(there.split()) == " ".join(span.text.split())
        assert document.text[: span.document_start].endswith(span.before)
        assert document.text[span.document_end :].startswith(span.after)
        assert (span.source, span.licence) == (document.source, document.licence)
        assert span.in_training == (document is not HELDOUT)
    sizes = [span.end - span.start for span in found.spans]
    assert sizes == sorted(sizes, reverse=True), "longest first"


def test_spans_sources_and_share(index: Overlap) -> None:
    quote, other = TRAIN[0].text[500:600], TRAIN[2].text[3:70]
    answer = f"XYZ#{quote}#Q#{other}"
    found = trace(answer, index, STORE)
    check(found)
    assert {(s.document_id, s.text.strip()) for s in found.spans} >= {
        ("a", quote.strip()),
        ("b", quote.strip()),
    }
    assert any(s.document_id == "c" for s in found.spans)
    outside = len("XYZ#") + len("#Q#")
    assert found.covered == pytest.approx(1 - outside / len(answer), abs=4 / len(answer))


def test_nothing_shared(index: Overlap) -> None:
    found = trace("Completely different words, and LOUD ones at that. 123456", index, STORE)
    assert found.spans == () and found.covered == 0 and found.num_spans == 0
    assert "0% of the answer" in found.render()
    assert trace("", index).covered == 0


def test_random_answers_are_traced_truly(index: Overlap) -> None:
    rng = random.Random(0)
    for _ in range(20):
        pieces = []
        for _ in range(3):
            document = rng.choice([*TRAIN, HELDOUT])
            start = rng.randrange(len(document.text) - 120)
            pieces.append(document.text[start : start + rng.randint(10, 120)])
        check(trace(" | ".join(pieces), index, STORE))


def test_held_out_passages_are_marked(index: Overlap) -> None:
    text = HELDOUT.text[100:400]
    passage = Passage(7, "h", "title", text, "h.txt", "MIT", 100, 400, 2.5)
    found = trace(f"title: {text[20:90]} [1]", index, STORE, question="what?", passages=[passage])
    check(found)
    assert [(s.document_id, s.in_training, s.document_start) for s in found.spans] == [("h", False, 120)]
    assert found.covered == 0 and found.covered_by_passages == pytest.approx(70 / len(found.answer))
    assert (
        "not in the training text" in found.render() and "[1] title (h.txt, MIT) score 2.50" in found.render()
    )


def test_a_passage_from_a_training_document_is_not_listed_twice(index: Overlap) -> None:
    text = TRAIN[0].text[0:300]
    passage = Passage(1, "a", "title", text, "a.txt", "MIT", 0, 300)
    found = trace(text[50:150], index, STORE, passages=[passage])
    check(found)
    assert [s.document_id for s in found.spans] == ["a"] and found.covered == found.covered_by_passages == 1.0


def test_as_dict_is_json(index: Overlap) -> None:
    found = trace(
        TRAIN[0].text[:100], index, STORE, passages=[Passage(1, "a", "t", "x", "a.txt", "MIT", 0, 1)]
    )
    body = json.loads(json.dumps(found.as_dict()))
    assert {"spans", "passages", "covered", "answer", "num_spans"} <= set(body)
    assert {"start", "end", "document_id", "source", "licence", "document_start", "document_end", "before", "after",
            "in_training"} <= set(body["spans"][0])  # fmt: skip


def test_only_so_many_are_kept_and_the_rest_is_counted(index: Overlap) -> None:
    answer = "#".join(TRAIN[0].text[i : i + 50] for i in range(0, 1000, 100))
    found = trace(answer, index, STORE, max_spans=3)
    assert len(found.spans) == 3 and found.num_spans > 3
    assert f"{found.num_spans - 3} shorter spans are not shown" in found.render()
    assert found.covered == trace(answer, index, STORE).covered


def test_documents_of_another_corpus_are_noticed(index: Overlap) -> None:
    other = Store(Document("a", "changed " * 400, "a.txt", "MIT"))
    with pytest.raises(ArtifactError, match="does not belong"):
        trace(TRAIN[0].text[500:560], index, other)


def test_without_documents_there_is_no_context(index: Overlap) -> None:
    found = trace(TRAIN[0].text[100:200], index)
    assert found.spans[0].before == "" and found.covered == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_shared_finds_what_a_quadratic_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choices("ab", k=200))
    other = "".join(rng.choices("ab", k=150)) + text[20:70] + "".join(rng.choices("ab", k=50)) + text[100:140]
    covered = {i for s, e, _ in shared(text, other, 12) for i in range(s, e)}
    naive = {i for s in range(len(text) - 11) if text[s : s + 12] in other for i in range(s, s + 12)}
    for start, end, at in shared(text, other, 12):
        assert text[start:end] == other[at : at + end - start] and end - start >= 12
        assert end == len(text) or text[start : end + 1] not in other, "as long as possible"
    assert covered <= naive
    assert set(range(20, 70)) <= naive and len(covered) >= 0.8 * len(naive)
