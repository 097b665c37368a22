"""What the quality rules call a word. The compiled kernel cuts by the same rules (native/word_split.hpp).

The thresholds of Gopher, C4 and FineWeb were tuned on tokenizers that treat punctuation as words; the rules here
follow the conventions of the Penn Treebank as spaCy's English tokenizer applies them, without its lists of
abbreviations, units and emoticons:

    chunk        what stands between white space
    front, back  punctuation, quotes, symbols of currency and pictures are peeled off both ends, one word each; a run
                 of two or more full stops is one word; a single full stop is peeled off the back, except after a
                 single capital (U.S.); 's at the back is one word, + and % are peeled off the back of a number
    contraction  n't 'll 're 've 'd 'm at the back of what is left is one word
    inside       a hyphen, : < > = / before a letter, a comma between letters, a full stop between a small and a
                 capital letter, + - * ^ between digits, pictures, runs of full stops and CJK punctuation cut;
                 an address (with :// or starting with www.) is not cut
    no spaces    Han and Hiragana are cut into words of two characters, Thai, Lao, Myanmar and Khmer into words of
                 four: near the mean length of words there, and what the counts need is only the order of magnitude

Lower and upper case are different words. Offsets count characters.
"""

from __future__ import annotations

from collections.abc import Iterator

from ownlm.data.filters.characters import (
    BACK,
    CUT,
    DIGIT,
    FOURFOLD,
    FRONT,
    LETTER,
    LOWER,
    PAIRED,
    QUOTE,
    SPACE,
    UPPER,
    flags_of,
)

Span = tuple[int, int]  # first character and the one after the last
_APOSTROPHES = "'’"


def words(text: str) -> list[Span]:
    """Where the words of a text are, in order."""
    return list(Cutter(text).words())


class Cutter:
    """One text with the flags of its characters; the methods name a chunk or what is left of it by [first, end)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.flags: list[int] = flags_of(text).tolist()

    def words(self) -> Iterator[Span]:
        flags, end = self.flags, 0
        while end < len(flags):
            first = end
            while first < len(flags) and flags[first] & SPACE:
                first += 1
            end = first
            while end < len(flags) and not flags[end] & SPACE:
                end += 1
            if first < end:
                yield from self._chunk(first, end)

    def _chunk(self, first: int, end: int) -> Iterator[Span]:
        while size := self._front(first, end):
            yield first, first + size
            first += size
        back: list[Span] = []
        while size := self._back(first, end):
            back.append((end - size, end))
            end -= size
        if first < end:
            contraction = self._contraction(first, end)
            yield from self._inside(first, end - contraction)
            if contraction:
                yield end - contraction, end
        yield from reversed(back)

    def _front(self, first: int, end: int) -> int:
        """How many characters at the front are one word of punctuation."""
        if first == end:
            return 0
        if self.flags[first] & FRONT:
            number = self.text[first] == "+" and first + 1 < end and self.flags[first + 1] & DIGIT
            return 0 if number else 1
        dots = self._dots(first, end)
        return dots if dots > 1 else 0

    def _dots(self, first: int, end: int) -> int:
        stop = first
        while stop < end and self.text[stop] == ".":
            stop += 1
        return stop - first

    def _back(self, first: int, end: int) -> int:
        """How many characters at the back are one word of punctuation."""
        if first == end:
            return 0
        last, before = self.text[end - 1], self.flags[end - 2] if end - 2 >= first else 0
        if self.flags[end - 1] & BACK:
            return 1
        if end - 2 < first:
            return 0
        if last == ".":
            if self.text[end - 2] == ".":
                start = end - 1
                while start > first and self.text[start - 1] == ".":
                    start -= 1
                return end - start
            return int(self._ends_sentence(first, end - 2))
        if last in "%+":
            return int(bool(before & DIGIT))
        return 2 if last in "sS" and self.text[end - 2] in _APOSTROPHES else 0

    def _ends_sentence(self, first: int, at: int) -> bool:
        """Whether a full stop after the character `at` is no part of its word."""
        here = self.flags[at]
        if here & UPPER:
            return at > first and bool(self.flags[at - 1] & UPPER)
        return bool(here & (LETTER | DIGIT | BACK)) or self.text[at] in "%²-+"

    def _contraction(self, first: int, end: int) -> int:
        for size, endings in ((3, ("n't", "'ll", "'re", "'ve")), (2, ("'d", "'m"))):
            ending = self.text[end - size : end]
            if end - first > size and ending.replace("’", "'").lower() in endings:
                return size
        return 0

    def _inside(self, first: int, end: int) -> Iterator[Span]:
        start = at = first
        address = self.text.startswith("www.", first, end) or self.text.find("://", first, end) >= 0
        while at < end and not address:
            size = self._cut(first, at, end)
            if size:
                yield from self._unspaced(start, at)
                yield at, at + size
                start = at + size
            at += size or 1
        yield from self._unspaced(start, end)

    def _cut(self, first: int, at: int, end: int) -> int:
        """How many characters at `at` are one word inside a chunk."""
        here, flags = self.text[at], self.flags
        if flags[at] & CUT:
            return 1
        if here == "." and (dots := self._dots(at, end)) > 1:
            return dots
        if at == first or at + 1 >= end or flags[at] & (LETTER | DIGIT):
            return 0
        before, after = flags[at - 1], flags[at + 1]
        if here == ".":
            return int(bool(before & (LOWER | QUOTE) and after & (UPPER | QUOTE)))
        if here == ",":
            return int(bool(before & after & LETTER))
        if here in "+-*^" and before & DIGIT and (after & DIGIT or self.text[at + 1] == "-"):
            return 1
        if not before & (LETTER | DIGIT):
            return 0
        size = 1
        if here == "-":
            while size < 3 and at + size < end and self.text[at + size] == "-":
                size += 1
        elif here not in "–—~:<>=/":
            return 0
        return size if at + size < end and flags[at + size] & LETTER else 0

    def _unspaced(self, first: int, end: int) -> Iterator[Span]:
        """[first, end), cut where the script is one that is written without spaces."""
        start = first
        while start < end:
            kind = self.flags[start] & (PAIRED | FOURFOLD)
            most = {0: end - start, PAIRED: 2, FOURFOLD: 4}[kind]
            stop = start
            while stop < end and stop - start < most and self.flags[stop] & (PAIRED | FOURFOLD) == kind:
                stop += 1
            yield start, stop
            start = stop
