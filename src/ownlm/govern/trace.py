"""Where an answer comes from: the spans it shares word for word with training documents, and the passages it read.

A shared span shows that the training text holds these very characters, not that the model learned them there; a
span in several documents is listed for each. Short overlaps (under 32 characters by default) are not evidence and
are not listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ownlm.data.overlap import Overlap, Span
from ownlm.errors import ArtifactError
from ownlm.records import Document, Passage

MIN_CHARACTERS = 32
AROUND = 80  # characters of the document shown before and after a span
MAX_SPANS = 50


class Documents(Protocol):
    """`ownlm.rag.lexical.LexicalIndex`, or anything that hands out documents by id (None or KeyError: not there)."""

    def document(self, document_id: str) -> Document | None: ...


@dataclass(frozen=True, slots=True)
class Overlapping:
    """answer[start:end] stands word for word in a document, at document_start..document_end (characters).

    Word for word: the same characters, where any run of white space counts as one space.
    """

    start: int
    end: int
    text: str
    document_id: str
    source: str
    licence: str
    document_start: int
    document_end: int
    before: str  # the document around the span; empty when the document is not at hand
    after: str
    in_training: bool  # False: the document is only in the index (held out, or added after training)
    num_places: int = 1  # how often the span stands in the training text; at most 8 documents are listed


@dataclass(frozen=True, slots=True)
class Trace:
    """The overlaps, longest first, and the passages. Shares are of the answer's characters."""

    answer: str
    question: str | None
    spans: tuple[Overlapping, ...]
    num_spans: int  # found; `spans` keeps at most MAX_SPANS, the longest
    covered: float  # share of the answer inside some span from a training document
    covered_by_passages: float  # share of the answer that stands word for word in a retrieved passage
    passages: tuple[Passage, ...]
    min_chars: int
    num_capped: int = 0  # pieces of the answer so frequent that not all of their places were followed

    def as_dict(self) -> dict[str, Any]:
        return {"format": 1, **asdict(self)}

    def render(self) -> str:
        """For a terminal, plain text."""
        lines = [f"{self.covered:.0%} of the answer stands word for word in training documents "
                 f"(spans of {self.min_chars} characters or more)."]  # fmt: skip
        for span in self.spans:
            where = "" if span.in_training else "  [not in the training text: indexed only]"
            lines += [
                "",
                f"{span.end - span.start} characters  {span.source}:{span.document_start}-{span.document_end}  "
                f"licence {span.licence}{where}",
                f"    ...{_line(span.before)}>>{_line(span.text)}<<{_line(span.after)}...",
            ]
        if self.num_spans > len(self.spans):
            lines += ["", f"{self.num_spans - len(self.spans)} shorter spans are not shown."]
        if self.passages:
            lines += ["", "Passages retrieved:"]
            lines += [
                f"  [{n}] {p.title} ({p.source}, {p.licence}) score {p.score:.2f}"
                for n, p in enumerate(self.passages, 1)
            ]
        return "\n".join(lines)


def trace(
    answer: str,
    overlap: Overlap,
    index: Documents | None = None,
    question: str | None = None,
    passages: Sequence[Passage] | None = None,
    min_chars: int = MIN_CHARACTERS,
    max_spans: int = MAX_SPANS,
) -> Trace:
    """Trace an answer. Raises ArtifactError when a span is not where it is said to be (another corpus's index).

    Spans in a passage's own document that no training document accounts for are listed with in_training False.
    """
    matches = overlap.matches(answer, min_chars)
    found = [_overlapping(answer, span, index) for span in matches.spans]
    trained = _union((s.start, s.end) for s in found)
    quoted = []
    for passage in passages or ():
        for start, end, at in shared(answer, passage.text, min_chars):
            quoted.append((start, end))
            if not _inside((start, end), trained):
                found.append(_held_out(answer, passage, index, start, end, at))
    found.sort(key=lambda s: (s.start - s.end, s.start, s.document_id))
    return Trace(
        answer, question, tuple(found[:max_spans]), len(found), _share(trained, answer),
        _share(_union(quoted), answer), tuple(passages or ()), min_chars,
        matches.num_capped,
    )  # fmt: skip


def shared(text: str, other: str, min_chars: int) -> list[tuple[int, int, int]]:
    """Longest substrings of at least `min_chars` that `text` shares with `other`: (start, end, start in other).

    Greedy from the left; each reported span is as long as possible at its start.
    """
    spans = []
    start = 0
    while start + min_chars <= len(text):
        at = other.find(text[start : start + min_chars])
        if at < 0:
            start += 1
            continue
        length, place = min_chars, at
        while at >= 0:  # the longest among all places where the seed stands
            reach = min_chars
            limit = min(len(text) - start, len(other) - at)
            while reach < limit and text[start + reach] == other[at + reach]:
                reach += 1
            if reach > length:
                length, place = reach, at
            at = other.find(text[start : start + min_chars], at + 1)
        spans.append((start, start + length, place))
        start += length
    return spans


def _overlapping(answer: str, span: Span, index: Documents | None) -> Overlapping:
    text = answer[span.start : span.end]
    before, after = _around(index, span.document_id, span.document_start, span.document_end, text)
    return Overlapping(span.start, span.end, text, span.document_id, span.source, span.licence, span.document_start,
                       span.document_end, before, after, True, span.num_places)  # fmt: skip


def _held_out(
    answer: str, passage: Passage, index: Documents | None, start: int, end: int, at: int
) -> Overlapping:
    text = answer[start:end]
    first = passage.start + at
    # a passage may be a reflowed piece of its document: then the place is that of the passage itself
    document = _document(index, passage.document_id)
    if document is not None and document.text[first : first + len(text)] == text:
        last = first + len(text)
        before, after = document.text[max(0, first - AROUND) : first], document.text[last : last + AROUND]
    else:
        first, last = passage.start, passage.end
        before, after = (
            passage.text[max(0, at - AROUND) : at],
            passage.text[at + len(text) : at + len(text) + AROUND],
        )
    return Overlapping(start, end, text, passage.document_id, passage.source, passage.licence, first, last, before,
                       after, False)  # fmt: skip


def _around(index: Documents | None, document_id: str, start: int, end: int, text: str) -> tuple[str, str]:
    """The document before and after the span; checks that the span really stands there."""
    document = _document(index, document_id)
    if document is None:
        return "", ""
    if _line(document.text[start:end]) != _line(text):
        raise ArtifactError(
            "The overlap index does not belong to these documents.",
            f"{document_id} characters {start} to {end} hold {document.text[start:end][:60]!r}, not {text[:60]!r}",
            "run `ownlm verify` on the folder, then build it again",
        )
    return document.text[max(0, start - AROUND) : start], document.text[end : end + AROUND]


def _document(index: Documents | None, document_id: str) -> Document | None:
    if index is None:
        return None
    try:
        return index.document(document_id)
    except KeyError:
        return None


def _union(spans: Any) -> list[tuple[int, int]]:
    """Overlapping and touching spans joined, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _inside(span: tuple[int, int], joined: list[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in joined)


def _share(joined: list[tuple[int, int]], answer: str) -> float:
    return sum(end - start for start, end in joined) / len(answer) if answer else 0.0


def _line(text: str) -> str:
    return " ".join(text.split())
