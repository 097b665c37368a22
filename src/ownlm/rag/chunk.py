"""A document as passages: pieces of its sections, about TARGET characters each, with exact offsets.

`passage.text == document.text[passage.start:passage.end]`, always. Cuts are made between sections first, then
between paragraphs, then lines, then sentences, then words; only a word longer than a passage is cut itself. The
signature and docstring of a function that does not fit one passage come first, its code in further passages.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ownlm.data.synth.outline import sections
from ownlm.data.synth.sentences import sentences
from ownlm.records import Document, Passage

TARGET = 550  # characters
MOST = 900
LEAST = 150  # a shorter rest joins the piece before, where that stays below MOST

_PARAGRAPH = regex.compile(r"\n[ \t]*\n\s*")


def passages(document: Document) -> Iterator[Passage]:
    """Passages in the order of the text; ids count from 0 within the document (the index gives its own)."""
    number = 0
    for section in sections(document):
        whole = section.end - section.start <= TARGET
        parts = (
            [(section.start, section.end)]
            if whole
            else [(section.start, section.head), (section.head, section.end)]
        )
        for left, right in parts:
            for start, end in pieces(document.text, left, right):
                yield Passage(
                    number, document.id, section.title, document.text[start:end], document.source,
                    document.licence, start, end,
                )  # fmt: skip
                number += 1


def pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of each piece of text[start:end], blank lines around it left out; none longer than MOST."""
    start, end = _trim(text, start, end)
    if start >= end:
        return []
    if end - start <= TARGET + LEAST:
        return [(start, end)]
    found: list[tuple[int, int]] = []
    for left, right in _atoms(text, start, end):
        if found and (right - found[-1][0] <= TARGET or _completes(found[-1], left, right, end)):
            found[-1] = (found[-1][0], right)
        else:
            found.append((left, right))
    if len(found) > 1 and found[-1][1] - found[-1][0] < LEAST and found[-1][1] - found[-2][0] <= MOST:
        found[-2:] = [(found[-2][0], found[-1][1])]
    return [(left, right) for left, right in (_trim(text, *pair) for pair in found) if left < right]


def _completes(open_piece: tuple[int, int], left: int, right: int, end: int) -> bool:
    """A heading or a few words alone wait for what follows; a short rest at the end joins what is open."""
    start, stop = open_piece
    return right - start <= MOST and (stop - start < LEAST or (right == end and right - left < LEAST))


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Without blank lines at both ends; the indentation of the first line stays."""
    piece = text[start:end]
    if not piece.strip():
        return end, end
    blank = len(piece) - len(piece.lstrip())
    blank = piece.rfind("\n", 0, blank) + 1
    return start + blank, start + len(piece.rstrip())


def _atoms(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, or smaller units where a paragraph is longer than TARGET; together they are text[start:end]."""
    for left, right in _cut(start, end, [match.end() for match in _PARAGRAPH.finditer(text, start, end)]):
        if right - left <= TARGET:
            yield left, right
            continue
        ends = [stop for _, stop in sentences(text, left, right)]
        units = list(_cut(left, right, ends)) if ends else [(left, right)]
        for low, high in units:
            if high - low <= TARGET:
                yield low, high
            else:
                yield from _lines(text, low, high)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Groups of lines up to TARGET; a longer line by words."""
    stops = [position + 1 for position in range(start, end) if text[position] == "\n"]
    low = start
    for left, right in _cut(start, end, stops):
        if right - low <= TARGET:
            continue
        if left > low:
            yield low, left
        low = left
        while right - low > MOST:
            space = text.rfind(" ", low + 1, low + TARGET)
            cut = space + 1 if space > low else low + TARGET
            yield low, cut
            low = cut
    if low < end:
        yield low, end


def _cut(start: int, end: int, stops: list[int]) -> Iterator[tuple[int, int]]:
    """text[start:end] cut at the stops inside it."""
    for stop in [*(stop for stop in stops if start < stop < end), end]:
        if stop > start:
            yield start, stop
            start = stop
