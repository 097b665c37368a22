"""Every shared span is found, is maximal and points at the right characters: held against brute force."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ownlm.data import overlap
from ownlm.data.fingerprint import normalize
from ownlm.errors import ArtifactError, UsageError
from ownlm.records import Document


def even(text: str) -> str:
    """White space evened out, slowly."""
    out: list[str] = []
    for char in text:
        if char.isspace():
            char = " "
            if out and out[-1] == " ":
                continue
        out.append(char)
    return "".join(out)


def brute(question: str, documents: list[str], least: int) -> set[str]:
    """The maximal substrings of the question, normalized, that occur in a document."""
    texts = [even(document) for document in documents]
    asked = even(question)
    spans: list[tuple[int, int]] = []
    for start in range(len(asked)):
        end = start
        while end < len(asked) and any(asked[start : end + 1] in text for text in texts):
            end += 1
        if end - start >= least and (not spans or end > spans[-1][1]):
            spans.append((start, end))
    return {asked[start:end] for start, end in spans}


ALPHABETS = ("abcdefghijklmnopqrstuvwxyz     \n", "ab \n", "aé日😀 \n\t", "xyzÜ\u2003  ")


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_planted_spans_against_brute_force(tmp_path, alphabet):
    rng = random.Random(len(alphabet))

    def text(length: int) -> str:
        return "".join(rng.choices(alphabet, k=length))

    documents = [text(rng.randrange(200, 1500)) for _ in range(12)]
    overlap.build([Document(f"d{n}", body, f"s{n}", "MIT") for n, body in enumerate(documents)], tmp_path)
    index = overlap.Overlap(tmp_path)
    for _ in range(25):
        parts = []
        for _ in range(rng.randrange(1, 4)):
            body = rng.choice(documents)
            start = rng.randrange(len(body) - 100)
            piece = body[start : start + rng.randrange(20, 90)]
            parts += [text(rng.randrange(0, 30)), piece.replace("\n", "  \n ")]
        question = "".join(parts)
        found = index.spans(question)
        for span in found:
            body = documents[int(span.document_id[1:])]
            shared = even(question[span.start : span.end])
            assert shared == even(body[span.document_start : span.document_end])
            assert len(shared) >= 32 and span.source == "s" + span.document_id[1:] and span.licence == "MIT"
        assert {even(question[span.start : span.end]) for span in found} == brute(question, documents, 32)
        assert [span.end - span.start for span in found] == sorted(
            (s.end - s.start for s in found), reverse=True
        )


def test_every_offset_of_a_span_of_exactly_32_characters(tmp_path):
    body = "".join(random.Random(3).choices("abcdefghijklmnop", k=400))
    overlap.build([Document("d", body, "s")], tmp_path)
    index = overlap.Overlap(tmp_path)
    for start in range(0, 368):
        (span,) = index.spans("#" + body[start : start + 32] + "#")
        assert (span.start, span.end, span.document_start, span.document_end) == (1, 33, start, start + 32)
        assert not index.spans("#" + body[start : start + 31] + "#")


def test_two_spans_of_one_document_with_a_changed_character_between(tmp_path):
    rng = random.Random(5)
    bodies = ["".join(rng.choices("abcdefghijklmnop", k=200)) for _ in range(3)]
    overlap.build([Document(f"d{n}", body, f"s{n}") for n, body in enumerate(bodies)], tmp_path)
    index = overlap.Overlap(tmp_path)
    for n, body in enumerate(bodies):  # whole documents, so the first span begins where its document does
        spans = sorted(index.spans(body[:90] + "#" + body[91:]), key=lambda span: span.start)
        places = [(span.document_id, span.document_start, span.document_end) for span in spans]
        assert places == [(f"d{n}", 0, 90), (f"d{n}", 91, 200)]


def test_offsets_are_of_the_original_texts(tmp_path):
    body = "é  first\n\n    line of the   document\twith\n many   spaces in it, and an end"
    overlap.build([Document("z", "zzz", "z"), Document("d", body, "s")], tmp_path)
    question = "Q:    line of the document with many spaces in    it, and?"
    (span,) = overlap.Overlap(tmp_path).spans(question)
    assert question[span.start : span.end] == "    line of the document with many spaces in    it, and"
    assert even(body[span.document_start : span.document_end]) == even(question[span.start : span.end])


def test_matches_never_cross_documents_and_places_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(overlap, "SEGMENT_BYTES", 200)  # many segments
    shared = "a sentence that stands in very many documents of this corpus"
    documents = [Document(f"d{n:02d}", f"{n} {shared} {n}", f"s{n:02d}") for n in range(20)]
    assert overlap.build(documents, tmp_path)["num_segments"] > 3
    spans = overlap.Overlap(tmp_path).spans("x " + shared + " y")
    assert len(spans) == overlap.MOST_SOURCES and {span.num_places for span in spans} == {20}
    assert not overlap.Overlap(tmp_path).spans(documents[0].text[-20:] + documents[1].text[:20])


def test_frequent_grams_are_capped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(overlap, "LEAST_CANDIDATES", 64)
    monkeypatch.setattr(overlap, "CANDIDATES_PER_GRAM", 1)
    rare = "nothing else in these documents says this at all, ever"
    documents = [Document(f"d{n}", "-" * 3000 + f"{n}", f"s{n}") for n in range(3)] + [
        Document("r", rare, "r")
    ]
    overlap.build(documents, tmp_path)
    matches = overlap.Overlap(tmp_path).matches("-" * 200 + rare)
    assert matches.num_capped > 0
    assert rare in {("-" * 200 + rare)[span.start : span.end] for span in matches.spans}


def test_short_empty_and_strange_questions(tmp_path):
    overlap.build([Document("d", "some text of the one document that is there", "s")], tmp_path)
    index = overlap.Overlap(tmp_path)
    for question in ("", " ", "short", "\ud800" * 50, "\0" * 50, "some text of the one document"):
        assert index.spans(question) == []
    with pytest.raises(UsageError):
        index.spans("text", min_chars=10)
    overlap.build([], tmp_path / "none")
    assert overlap.Overlap(tmp_path / "none").spans("x" * 100) == []
    (tmp_path / "segment-000.grams.npy").unlink()
    with pytest.raises(ArtifactError):
        overlap.Overlap(tmp_path)


@pytest.mark.parametrize("text", ["", " ", "a", "  a b\n\nc  ", "é \u2003\u2003 日\t\tx", "\n\n\n"])
def test_normalize_against_the_slow_form(text):
    form = normalize(text)
    assert form.data.decode() == even(text)
    assert len(even(text)) + int(np.sum(form.run_extra)) == len(text)
