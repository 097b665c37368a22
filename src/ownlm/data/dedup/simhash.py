"""Near-duplicates by SimHash (Charikar 2002): fingerprints of 64 bits that differ in few places.

Every feature (a shingle of words) has 64 random bits; a bit of the fingerprint is the majority of that bit over the
features, each weighted by how often it occurs. Pairs within `max_distance` bits are found without comparing all: of
blocks of bits, more than max_distance, at least some are equal (Manku, Jain, Das Sarma 2007, who permute the blocks into
sorted tables; here one sorted table per choice of blocks). That is exact, not probable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.dedup import pairs, roster, words
from ownlm.data.dedup.roster import Keep
from ownlm.data.flow.step import Arrays, Note
from ownlm.records import Document, Drop

BITS = 64
BLOCK = 4096  # features whose bits are unpacked at a time: 256 KiB
CAPPED = "groups of more than 64 likely duplicates compared only with their first 32"


class SimHash(Settings):
    """Drops documents whose fingerprint is near that of one that stays. Sketch: 8 bytes and the id per document;
    decide: 32 bytes per document and 8 per candidate pair. A text without words is no duplicate.
    """

    shingle: int = Field(default=3, ge=1, le=64)
    """Words per feature."""
    max_distance: int = Field(default=3, ge=0, le=16)
    """Bits of 64 in which duplicates may differ (3 in Manku et al. 2007)."""
    keep: Keep = "first"
    """Which of the duplicates stays: the first, the longest, or the best by quality_score."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        names, prints, empty = roster.Roster(self.keep), [], []
        for document in documents:
            names.add(document)
            features = words.shingles([document.text], self.shingle)[0]
            prints.append(fingerprint(features))
            empty.append(not len(features))
        return {
            **names.arrays(),
            "prints": np.array(prints, dtype=np.uint64),
            "empty": np.array(empty, dtype=np.uint8),
        }

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        rolls = roster.gather(sketches, "prints")
        left, right, capped = near(rolls.values, rolls.rank, rolls.empty, self.max_distance)
        of = pairs.greedy(left, right, len(rolls.rank))
        return roster.decisions(sketches, pairs.by_document(of, rolls.rank), capped)

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        return roster.apply(documents, decision, "near duplicate", CAPPED)


def fingerprint(features: np.ndarray) -> int:
    """The 64 majority bits of uint64 features, repeats counting as weight; a tie is 0, and so are no features."""
    ones = np.zeros(BITS, dtype=np.int64)
    for first in range(0, len(features), BLOCK):
        block = np.ascontiguousarray(features[first : first + BLOCK]).astype("<u8").view(np.uint8)
        bits = np.unpackbits(block.reshape(-1, 8), axis=1, bitorder="little")  # [n, 64]
        ones += bits.sum(axis=0, dtype=np.int64)
    majority = np.packbits(2 * ones > len(features), bitorder="little")
    return int(majority.view("<u8")[0])


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differing bits of uint64 values, elementwise."""
    bits = np.unpackbits((a ^ b).view(np.uint8).reshape(-1, 8), axis=1)
    counts: np.ndarray = bits.sum(axis=1, dtype=np.int64)
    return counts


def near(prints: np.ndarray, rank: np.ndarray, empty: np.ndarray, max_distance: int) -> pairs.Candidates:
    """All pairs within `max_distance` bits, as ranks (in part where more than pairs.SMALL share a block)."""
    found = pairs.sharing(tables(prints, max_distance), rank, empty)
    by_rank = np.argsort(rank, kind="stable")
    sorted_prints = prints[by_rank] if len(prints) else prints.astype(np.uint64)
    close = np.zeros(len(found.left), dtype=bool)
    for first in range(0, len(close), 1 << 18):  # the bits of a chunk take 16 MiB
        at = slice(first, first + (1 << 18))
        close[at] = distance(sorted_prints[found.left[at]], sorted_prints[found.right[at]]) <= max_distance
    return pairs.Candidates(found.left[close], found.right[close], found.num_capped)


def tables(prints: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    """Keys [D] such that fingerprints within the distance share at least one: of max_distance + c blocks, c are equal.

    More blocks mean more tables with longer keys, so fewer pairs to compare: c grows with the number of documents.
    """
    chosen = (
        1
        if max_distance == 0 or len(prints) < 1 << 13
        else 2
        if len(prints) < 1 << 20 or max_distance > 8
        else 3
    )
    cuts = [BITS * number // (max_distance + chosen) for number in range(max_distance + chosen + 1)]
    masks = [(1 << end) - (1 << start) for start, end in pairwise(cuts)]
    for choice in combinations(masks, chosen):
        yield prints & np.uint64(sum(choice))
