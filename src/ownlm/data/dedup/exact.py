"""Exact duplicates: the same text apart from white space (and case, if asked). One copy stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xxhash

from ownlm.config import Settings
from ownlm.data.dedup import roster
from ownlm.data.dedup.roster import Keep
from ownlm.data.flow.step import Arrays, Note
from ownlm.records import Document, Drop


def fingerprint(text: str) -> bytes:
    """128 bits over the words of the text; equal for texts that differ in white space only."""
    return xxhash.xxh3_128_digest(" ".join(text.split()).encode("utf-8", "surrogatepass"))


class ExactDuplicates(Settings):
    """Drops documents whose text another one has, by 128-bit xxh3 digests. Sketch: 16 bytes and the id per document.
    decide holds 16 bytes per document and a sort of them.
    """

    white_space: bool = False
    """Whether white space counts; without, every run of it is one space."""
    case: bool = True
    """Whether upper and lower case differ."""
    keep: Keep = "first"
    """Which of equal documents stays: the first, the longest, or the best by quality_score."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        names, digests = roster.Roster(self.keep), bytearray()
        for document in documents:
            names.add(document)
            digests += self.digest(document.text)
        return {**names.arrays(), "digests": np.frombuffer(bytes(digests), np.uint64).reshape(-1, 2)}

    def digest(self, text: str) -> bytes:
        text = text if self.case else text.casefold()
        if self.white_space:
            return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))
        return fingerprint(text)

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        rolls = roster.gather(sketches, "digests")
        return roster.decisions(sketches, equal_to(rolls.values, rolls.rank))

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        return roster.apply(documents, decision, "exact duplicate")


def equal_to(rows: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """int64 [D]: the document of lowest rank with the same row (rows [D, C]), or -1 where that is the document."""
    order = np.lexsort((rank, *rows.T))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    first = order[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(order) else order
    of = np.full(len(order), -1, dtype=np.int64)
    of[order] = np.where(new, -1, first)
    return of
