"""Spans of the text that occurred before, anywhere in the corpus (Lee et al. 2022), cut out.

A window of `min_length` tokens goes when the same tokens occur earlier, ending before it starts; what the windows cover
is exactly what all repeats of at least that length cover, and the first occurrence stays. Tokens are words (words.py:
so case, punctuation and white space may differ) or characters; Lee et al. use 50 tokens of a BPE, where a span of 50
words has some 65. Documents are never joined: no window crosses their bounds.

Two ways to the same result. `suffix_array`: SA-IS over the corpus (native/suffix.hpp), linear time. `windows`: 64-bit
hashes of all windows, sorted in as many rounds over the sketches as the memory asks for; also what is used without
native kernels and from 2^31 tokens on. Legend: T tokens of the corpus, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.dedup import words
from ownlm.data.dedup.roster import changed
from ownlm.data.flow.step import Arrays, Note, drop
from ownlm.records import Document, Drop
from ownlm.runtime.native import kernels

WINDOWS = 1 << 25  # hashes sorted in one round: 800 MB at the most, 24 bytes each
_BASE = 0xD6E8FEB86659FD93
MOST_TOKENS = (1 << 31) - 2


class SubstringDuplicates(Settings):
    """Cuts out repeated spans. Sketch: 4 bytes per token, about 0.6 per byte of English in words. decide holds 1 byte
    per token, with suffix_array 25 more (about 4 per byte of text), with windows at most 800 MB and 48 bytes per
    token of one part.
    """

    min_length: int = Field(default=50, ge=2, le=100_000)
    """Tokens that a span must have to count as a repeat."""
    unit: Literal["words", "characters"] = "words"
    """What a token is."""
    method: Literal["suffix_array", "windows"] = "suffix_array"
    """How repeats are found; the result is the same. windows: for corpora that do not fit into memory."""
    min_kept_share: float = Field(default=0.2, ge=0, le=1)
    """A document that loses spans is dropped when less than this share of its tokens is left."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        rows = [self.tokens(document.text)[0] for document in documents]
        tokens, ends = words.joined(rows, np.uint32)
        return {"tokens": tokens, "ends": ends}

    def tokens(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(numbers uint32, starts in characters), one per token."""
        if self.unit == "words":
            found = words.words([text])
            return words.numbers(found.hashes), found.starts
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
        return codes, np.arange(len(codes), dtype=np.uint32)

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        total = sum(len(part["tokens"]) for part in sketches)
        if self.method == "suffix_array" and kernels() is not None and total < MOST_TOKENS:
            repeated = by_suffix_array(sketches, self.min_length)
        else:
            repeated = by_windows(sketches, self.min_length)
        found: list[Arrays] = []
        first = 0
        for part in sketches:
            count = len(part["tokens"])
            gone = covered(repeated[first : first + count], self.min_length)
            found.append({"gone": np.packbits(gone), "count": np.array([count], np.int64)})
            first += count
        return found

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        count = int(decision["count"][0])
        gone = np.unpackbits(decision["gone"], count=count).astype(bool)
        first = 0
        for document in documents:
            starts = self.tokens(document.text)[1]
            if first + len(starts) > count:
                raise changed(document.source, count)
            yield from self._cut(document, starts, gone[first : first + len(starts)])
            first += len(starts)
        if first != count:
            raise changed("the end of the part", count)

    def _cut(
        self, document: Document, starts: np.ndarray, gone: np.ndarray
    ) -> Iterator[Document | Drop | Note]:
        if not gone.any():
            yield document
            return
        share = 1 - gone.mean()
        if share == 0 or share < self.min_kept_share:
            yield drop(document, f"repeated spans: {1 - share:.0%} of the {self.unit} occurred before")
            return
        edges = np.flatnonzero(np.diff(np.concatenate([[False], gone, [False]]).astype(np.int8)))
        bounds = np.append(starts, len(document.text))[edges].tolist()  # first, behind, first, behind ...
        kept = [document.text[a:b] for a, b in zip([0, *bounds[1::2]], [*bounds[::2], None], strict=True)]
        yield Note("repeated spans removed", len(bounds) // 2)
        yield Note(f"{self.unit} of repeated spans removed", int(gone.sum()))
        yield Document(document.id, "".join(kept), document.source, document.licence, document.meta)


def covered(repeated: np.ndarray, length: int) -> np.ndarray:
    """bool [T]: the token lies in one of the `length` windows that start where `repeated` is set."""
    steps = np.zeros(len(repeated) + 1, dtype=np.int32)
    at = np.flatnonzero(repeated)
    steps[at] += 1
    steps[at + length] -= 1  # windows never pass the end; two do not start at one place
    return np.cumsum(steps[:-1]) > 0


def by_suffix_array(sketches: Sequence[Arrays], length: int) -> np.ndarray:
    """uint8 [T]: 1 where a window starts that occurred before. Needs the native kernels."""
    module = kernels()
    assert module is not None, "the caller asks only when the kernels are there"
    tokens, left = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint32)]
    for part in sketches:
        tokens.append(np.array(part["tokens"]))
        left.append(remaining(part["ends"], len(part["tokens"])))
    joined, remain = np.concatenate(tokens), np.concatenate(left)
    tokens.clear()
    left.clear()
    known = np.unique(joined)
    symbols = np.empty(len(joined), dtype=np.uint32)
    for first in range(0, len(joined), 1 << 20):
        symbols[first : first + (1 << 20)] = np.searchsorted(known, joined[first : first + (1 << 20)]) + 1
    del joined
    found: np.ndarray = module.repeats(symbols, len(known) + 1, remain, length)
    return found


def remaining(ends: np.ndarray, count: int) -> np.ndarray:
    """uint32 [count]: tokens from here to the end of the document, the token itself included."""
    sizes = np.diff(np.asarray(ends), prepend=0)
    return (np.repeat(np.asarray(ends), sizes) - np.arange(count)).astype(np.uint32)


def by_windows(sketches: Sequence[Arrays], length: int, most: int = WINDOWS) -> np.ndarray:
    """The same as by_suffix_array, in rounds that hold `most` windows or few more. Equal hashes count as equal."""
    total = sum(len(part["tokens"]) for part in sketches)
    repeated = np.zeros(total, dtype=np.uint8)
    rounds = total // most + 1
    for number in range(rounds):
        hashes, places, first = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], 0
        for part in sketches:
            mine, at = _windows(part, length)
            chosen = words.scramble(mine) % np.uint64(rounds) == number
            hashes.append(mine[chosen])
            places.append(at[chosen] + first)
            first += len(part["tokens"])
        _mark(np.concatenate(hashes), np.concatenate(places), length, repeated)
    return repeated


def _windows(part: Arrays, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(hash, place) of every window inside a document: polynomial of the scrambled tokens modulo 2^64, by prefixes."""
    tokens = words.scramble(np.asarray(part["tokens"]).astype(np.uint64) + np.uint64(1))
    if len(tokens) < length:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    inverse = np.full(len(tokens) + 1, pow(_BASE, -1, 1 << 64), dtype=np.uint64)
    powers = np.full(len(tokens) + 1, _BASE, dtype=np.uint64)
    inverse[0] = powers[0] = 1
    inverse, powers = np.cumprod(inverse, dtype=np.uint64), np.cumprod(powers, dtype=np.uint64)
    prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum(tokens * inverse[:-1], dtype=np.uint64)])
    places = np.flatnonzero(remaining(part["ends"], len(tokens)) >= length)
    return words.scramble((prefix[places + length] - prefix[places]) * powers[places]), places


def _mark(hashes: np.ndarray, places: np.ndarray, length: int, repeated: np.ndarray) -> None:
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    new = np.concatenate([np.ones(min(1, len(hashes)), bool), hashes[1:] != hashes[:-1]])
    first = places[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(places) else places
    repeated[places[places - first >= length]] = 1
