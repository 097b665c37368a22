"""Lines or paragraphs that the corpus has more than once: the first stays, later ones are cut out (Wenzek et al. 2020,
CCNet, cut paragraphs; the first copy stays here, there none).

A piece is a line with its line break, or a paragraph (lines up to and with the blank lines behind it). Pieces with fewer than `min_characters` visible characters are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xxhash
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.dedup.roster import changed
from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.records import Document, Drop

Span = tuple[int, int]  # first character and the one behind the last
Cut = Callable[[str], Iterator[Span]]
_LINE = re.compile(r"[^\n]+\n?")  # linear: matches never overlap, and none can fail late


class LineDuplicates(Settings):
    """Cuts out lines that occurred before. Sketch: 8 bytes per line; decide: those and 16 bytes per line to sort."""

    min_count: int = Field(default=2, ge=2)
    """A line that the corpus has at least so often stays at its first place only."""
    min_characters: int = Field(default=20, ge=1)
    """Shorter lines are left alone (white space at both ends not counted)."""
    case: bool = True
    """Whether upper and lower case differ. Runs of white space are one space."""
    min_kept_share: float = Field(default=0.3, ge=0, le=1)
    """A document that loses lines is dropped when less than this share of its characters is left."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        return {"keys": _keys(documents, lines, self.min_characters, self.case)}

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        return _decide(sketches, self.min_count)

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        cutter = _Cutter("line", decision, self.min_characters, self.min_kept_share)
        for document in documents:
            yield from cutter.cut(document, lines)
        cutter.close()


class ParagraphDuplicates(Settings):
    """Cuts out paragraphs that occurred before. Sketch: 8 bytes per paragraph; decide: those and 16 to sort."""

    min_count: int = Field(default=2, ge=2)
    """A paragraph that the corpus has at least so often stays at its first place only."""
    min_characters: int = Field(default=20, ge=1)
    """Shorter paragraphs are left alone (white space at both ends not counted)."""
    case: bool = True
    """Whether upper and lower case differ. Runs of white space are one space."""
    min_kept_share: float = Field(default=0.3, ge=0, le=1)
    """A document that loses paragraphs is dropped when less than this share of its characters is left."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        return {"keys": _keys(documents, paragraphs, self.min_characters, self.case)}

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        return _decide(sketches, self.min_count)

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        cutter = _Cutter("paragraph", decision, self.min_characters, self.min_kept_share)
        for document in documents:
            yield from cutter.cut(document, paragraphs)
        cutter.close()


def lines(text: str) -> Iterator[Span]:
    """With their line breaks; empty ones are no pieces."""
    return (match.span() for match in _LINE.finditer(text))


def paragraphs(text: str) -> Iterator[Span]:
    """Up to the first line of the next one, from the beginning of the text; a blank text is one paragraph or none."""
    start, end, blank, begun = 0, 0, False, False
    for first, behind in lines(text):
        empty = text[first:behind].isspace()
        if (blank or first > end) and not empty and begun:
            yield start, first
            start = first
        end, blank, begun = behind, empty, begun or not empty
    if text:
        yield start, len(text)


def _long(text: str, piece: Span, min_characters: int) -> bool:
    return len(text[piece[0] : piece[1]].strip()) >= min_characters


def _keys(documents: Iterator[Document], cut: Cut, min_characters: int, case: bool) -> np.ndarray:
    """uint64: xxh3 of every piece that is long enough, apart from white space."""
    keys: list[np.ndarray] = [np.zeros(0, np.uint64)]
    for document in documents:
        text = document.text
        chosen = (text[a:b] for a, b in cut(text) if _long(text, (a, b), min_characters))
        found = (
            xxhash.xxh3_64_intdigest(" ".join(piece.split()).encode("utf-8", "surrogatepass"))
            for piece in (chosen if case else map(str.casefold, chosen))
        )
        keys.append(np.fromiter(found, dtype=np.uint64))
    return np.concatenate(keys)


def _decide(sketches: Sequence[Arrays], min_count: int) -> list[dict[str, np.ndarray]]:
    """Per part uint8: 1 for each piece that goes."""
    parts = [np.array(part["keys"]) for part in sketches]
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    new = np.concatenate([np.ones(min(1, len(keys)), bool), keys[1:] != keys[:-1]])
    starts = np.flatnonzero(new)
    many = np.repeat(
        np.diff(np.append(starts, len(keys))) >= min_count, np.diff(np.append(starts, len(keys)))
    )
    gone = np.zeros(len(keys), np.uint8)
    gone[order[many & ~new]] = 1
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return [{"gone": piece} for piece in (np.split(gone, ends[:-1]) if parts else [])]


class _Cutter:
    """Walks through the pieces of a part and its decision side by side."""

    def __init__(self, unit: str, decision: Arrays, min_characters: int, min_kept_share: float) -> None:
        self._unit, self._min_characters, self._min_kept_share = unit, min_characters, min_kept_share
        self._gone = decision["gone"]
        self._next = 0

    def cut(self, document: Document, pieces: Cut) -> Iterator[Document | Drop | Note]:
        text, kept, num_gone, start = document.text, [], 0, 0
        for first, behind in pieces(text):
            if self._goes(text, (first, behind), document):
                kept.append(text[start:first])
                start = behind
                num_gone += 1
        left = "".join(kept) + text[start:]
        share = len(left) / max(1, len(text))
        if not num_gone:
            yield document
        elif not left or left.isspace() or share < self._min_kept_share:
            yield drop(document, f"repeated {self._unit}s: {1 - share:.0%} of the characters occurred before")
        else:
            yield Note(f"repeated {self._unit}s removed", num_gone)
            yield Document(document.id, left, document.source, document.licence, document.meta)

    def _goes(self, text: str, piece: Span, document: Document) -> bool:
        if not _long(text, piece, self._min_characters):
            return False
        if self._next == len(self._gone):
            raise changed(document.source, len(self._gone))
        self._next += 1
        return bool(self._gone[self._next - 1])

    def close(self) -> None:
        if self._next != len(self._gone):
            raise changed("the end of the part", len(self._gone))
