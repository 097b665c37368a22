"""The numbers of a text that the quality rules decide on: one pass, compiled where the kernels are.

`measure` is what the steps call; `reference` is the readable definition of every number and the fallback. All are
counts, so the two agree exactly. Time is linear in the text; the memory beside it was measured at 12 bytes per character
for prose and at 35 for the worst text that was tried (random words of one letter).

    line         up to "\\n", without white space at its end; one without anything is blank and is not counted
    paragraph    lines without a blank one between them
    duplicate    a line or paragraph that an earlier one equals
    top n-gram   the n words in a row that are most frequent (the first of them among equals): characters of the words
                 with one space between them, times its count (Rae et al. 2021, section A1.1)
    duplicate n-grams  characters of the words in n-grams that occurred before, going on behind a duplicate, so that no
                 word counts twice
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from ownlm.data.filters.characters import (
    BULLET,
    DIGIT,
    FOURFOLD,
    LETTER,
    PAIRED,
    SPACE,
    TERMINAL,
    flags,
    flags_of,
)
from ownlm.data.filters.words import Span, words
from ownlm.runtime.native import kernels

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
SHORT_LINE = 30  # characters, FineWeb


class Statistics(NamedTuple):
    """Counts; *_characters count characters (code points)."""

    characters: int
    solid_characters: int  # that are not white space
    alphanumeric_characters: int  # letters, marks and digits
    newlines: int
    hashes: int
    ellipses: int  # "..." and "…"
    words: int
    plain_words: int  # with a letter or a digit
    plain_word_characters: int
    alphabetic_words: int  # with a letter
    unspaced_words: int  # of scripts without spaces
    lines: int
    bullet_lines: int
    ellipsis_lines: int
    terminal_lines: int  # end with a mark that ends sentences
    short_lines: int
    duplicate_lines: int
    duplicate_line_characters: int
    paragraphs: int
    duplicate_paragraphs: int
    duplicate_paragraph_characters: int
    top_2: int
    top_3: int
    top_4: int
    duplicate_5: int
    duplicate_6: int
    duplicate_7: int
    duplicate_8: int
    duplicate_9: int
    duplicate_10: int


def measure(text: str, short_line: int = SHORT_LINE) -> Statistics:
    """The statistics of a text; lone surrogates are characters without meaning."""
    return _measured(text, short_line, kernels() is not None)


@lru_cache(maxsize=1)  # steps that follow each other ask for the same document
def _measured(text: str, short_line: int, compiled: bool) -> Statistics:
    native = kernels()
    if native is None or not compiled:
        return reference(text, short_line)
    return Statistics(*native.text_statistics(text, flags(), short_line))


def distinct_words(text: str, wanted: Collection[str], enough: int) -> int:
    """How many different words of `wanted` a text contains; counting stops at `enough`."""
    native = kernels()
    if native is None:
        found = {text[first:end] for first, end in words(text)}
        return min(enough, len(found & set(wanted)))
    return int(_finder(native, frozenset(wanted)).count(text, enough))


@cache
def _finder(native: Any, wanted: frozenset[str]) -> Any:
    return native.WordFinder(flags(), sorted(wanted))


def reference(text: str, short_line: int = SHORT_LINE) -> Statistics:
    """The same as `measure`, in plain Python."""
    marks = flags_of(text)
    spans = words(text)
    found = [text[first:end] for first, end in spans]
    plain = [end - first for first, end in spans if (marks[first:end] & (LETTER | DIGIT)).any()]
    lines = _lines(text)
    paragraphs = _paragraphs(text, lines)
    ellipses = text.count("...") + text.count("…")
    duplicate_lines, line_characters = _duplicates([text[first:end] for first, end in lines])
    duplicate_paragraphs, paragraph_characters = _duplicates([text[first:end] for first, end in paragraphs])
    return Statistics(
        len(text), int((marks & SPACE == 0).sum()), int((marks & (LETTER | DIGIT) != 0).sum()),
        text.count("\n"), text.count("#"), ellipses,
        len(spans), len(plain), sum(plain),
        sum(bool((marks[first:end] & LETTER).any()) for first, end in spans),
        sum(bool(marks[first] & (PAIRED | FOURFOLD)) for first, _ in spans),
        len(lines),
        sum(bool(flags()[ord(text[first:end].lstrip()[0])] & BULLET) for first, end in lines),
        sum(text[first:end].endswith(("...", "…")) for first, end in lines),
        sum(bool(marks[end - 1] & TERMINAL) for _, end in lines),
        sum(end - first <= short_line for first, end in lines),
        duplicate_lines, line_characters, len(paragraphs), duplicate_paragraphs, paragraph_characters,
        *(_top(found, size) for size in TOP_SIZES), *(_duplicated(found, size) for size in DUPLICATE_SIZES),
    )  # fmt: skip


def _lines(text: str) -> list[Span]:
    """The lines that are not blank, each without the white space at its end."""
    lines, first = [], 0
    for line in text.split("\n"):
        size = len(line.rstrip())
        if size:
            lines.append((first, first + size))
        first += len(line) + 1
    return lines


def _paragraphs(text: str, lines: Sequence[Span]) -> list[Span]:
    paragraphs: list[Span] = []
    for first, end in lines:
        if paragraphs and text.count("\n", paragraphs[-1][1], first) == 1:
            paragraphs[-1] = paragraphs[-1][0], end
        else:
            paragraphs.append((first, end))
    return paragraphs


def _duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many equal an earlier one, and the characters in those."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count, characters = count + 1, characters + len(part)
        seen.add(part)
    return count, characters


def _top(found: Sequence[str], size: int) -> int:
    grams = Counter(tuple(found[at : at + size]) for at in range(len(found) - size + 1))
    if not grams:
        return 0
    gram, count = grams.most_common(1)[0]
    return len(" ".join(gram)) * count


def _duplicated(found: Sequence[str], size: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = at = 0
    while at + size <= len(found):
        gram = tuple(found[at : at + size])
        if gram in seen:
            characters += sum(map(len, gram))
            at += size
        else:
            seen.add(gram)
            at += 1
    return characters
