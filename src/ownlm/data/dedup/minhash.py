"""Near-duplicates by MinHash and locality-sensitive hashing (Broder 1997; Indyk and Motwani 1998), checked exactly.

Two documents are near-duplicates when the Jaccard similarity of their sets of shingles (k words in a row, see
words.py) is at least a threshold. A signature has buckets x rows values, each the least of one hash function over the
set; two documents agree in one value with probability s, their similarity, and in all rows of at least one of b
buckets with 1 - (1 - s^r)^b (`recall`). FineWeb (Penedo et al. 2024) keeps all such pairs, which with its 14 x 8 finds
56 % of the pairs at 0.7 and also pairs that are less alike. We read the same 112 values in finer bands (28 x 4: 99.9 %
at 0.7, 98 % at 0.6) and then compare the sets, which costs little since few documents are that alike by chance.

Legend: D documents, S shingles of all sets, H = buckets x rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from ownlm.config import Settings
from ownlm.data.dedup import pairs, roster, words
from ownlm.data.dedup.roster import Keep
from ownlm.data.flow.step import Arrays, Note
from ownlm.errors import UsageError
from ownlm.records import Document, Drop
from ownlm.runtime.native import kernels
from ownlm.runtime.seed import generator

BATCH = 1 << 20  # characters that are hashed in one call
BUDGET = 1 << 28  # numbers of shingles (of 4 bytes) held for one round of comparisons
CAPPED = "groups of more than 64 likely duplicates compared only with their first 32"


class Signatures(NamedTuple):
    """values uint32 [D, H]; shingles uint32 [S], sorted and without repeats per document; ends int64 [D]."""

    values: np.ndarray
    shingles: np.ndarray
    ends: np.ndarray


class MinHash(Settings):
    """Drops documents that nearly equal one that stays.

    Sketch, per document: 112 bytes of band keys, the id, and for the exact check 4 bytes per distinct shingle (0.6 to
    0.8 bytes per byte of English text). decide holds the keys, 16 bytes per document to sort them, 8 per candidate
    pair, and the sets of at most 2^28 shingles at a time (1 GiB, less where fewer documents have a candidate).
    """

    shingle: int = Field(default=5, ge=1, le=64)
    """Words per shingle."""
    buckets: int = Field(default=14, ge=1, le=1024)
    """Buckets of the signature."""
    rows: int = Field(default=8, ge=1, le=64)
    """Values per bucket, all of which must agree. buckets x rows values are computed."""
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Least exact Jaccard similarity of the sets of shingles. Only with verify."""
    verify: bool = True
    """Compare the sets of the candidates; without, whatever shares a bucket is a duplicate."""
    candidate_rows: int = Field(default=4, ge=0, le=64)
    """With verify: rows per band in the search for candidates, over all values; 0 searches buckets x rows as given."""
    clusters: str = Field(default="greedy", pattern="^(greedy|linked)$")
    """greedy: a document goes when one that stays is like it; linked: one stays per connected group (union-find)."""
    keep: Keep = "first"
    """Which of the duplicates stays: the first, the longest, or the best by quality_score."""
    seed: int = 1
    """Of the hash functions."""

    @model_validator(mode="after")
    def _agree(self) -> MinHash:
        fields = type(self).model_fields
        unused = ("threshold", "candidate_rows")  # by value: a stored pipeline file spells out every default
        if not self.verify and any(getattr(self, name) != fields[name].default for name in unused):
            raise ValueError("threshold and candidate_rows are of use only with verify: true")
        if self.candidate_rows > self.buckets * self.rows:
            raise ValueError("candidate_rows must be at most buckets x rows")
        return self

    def bands(self) -> tuple[int, int]:
        """(buckets, rows) of the search."""
        rows = self.candidate_rows if self.verify else 0
        return (self.buckets * self.rows // rows, rows) if rows else (self.buckets, self.rows)

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        names, keys, sets = roster.Roster(self.keep), [], []
        sizes = [np.zeros(0, np.int64)]
        for found in self._signatures(names, documents):
            keys.append(self._keys(found))
            sizes.append(np.diff(found.ends, prepend=0))
            if self.verify:
                sets.append(found.shingles)
        bands = self.bands()[0]
        kind = np.uint32 if self.verify else np.uint64
        return {
            **names.arrays(),
            "keys": np.concatenate([np.zeros((0, bands), kind), *keys]),
            "shingles": np.concatenate([np.zeros(0, np.uint32), *sets]),
            "ends": np.cumsum(np.concatenate(sizes), dtype=np.int64),
            "empty": (np.concatenate(sizes) == 0).astype(np.uint8),
        }

    def _signatures(self, names: roster.Roster, documents: Iterator[Document]) -> Iterator[Signatures]:
        batch: list[str] = []
        size = 0
        for document in documents:
            names.add(document)
            batch.append(document.text)
            size += len(document.text)
            if size >= BATCH:
                yield signatures(batch, self.shingle, self.buckets * self.rows, self.seed)
                batch, size = [], 0
        if batch:
            yield signatures(batch, self.shingle, self.buckets * self.rows, self.seed)

    def _keys(self, found: Signatures) -> np.ndarray:
        """One key per band [D, bands]: uint32 where pairs are checked afterwards, else uint64."""
        bands, rows = self.bands()
        cut = found.values[:, : bands * rows].reshape(-1, bands, rows).astype(np.uint64)
        keys = np.full(cut.shape[:2], rows, dtype=np.uint64)
        for row in range(rows):
            keys = words.scramble(keys + cut[:, :, row])
        return words.numbers(keys) if self.verify else keys

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        rolls = roster.gather(sketches, "keys")
        found = pairs.sharing(rolls.values.T if len(rolls.rank) else (), rolls.rank, rolls.empty)
        left, right = found.left, found.right
        if self.verify:
            by_rank = np.argsort(rolls.rank, kind="stable")
            alike = similarities(sketches, by_rank[left], by_rank[right]) >= self.threshold
            left, right = left[alike], right[alike]
        group = pairs.greedy if self.clusters == "greedy" else pairs.linked
        of = pairs.by_document(group(left, right, len(rolls.rank)), rolls.rank)
        return roster.decisions(sketches, of, found.num_capped)

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop | Note]:
        return roster.apply(documents, decision, "near duplicate", CAPPED)


class Pair(NamedTuple):
    """Two texts by their places in the list, left < right, and the exact Jaccard similarity of their shingles."""

    left: int
    right: int
    jaccard: float


def find_pairs(texts: Iterable[str], settings: MinHash | None = None) -> list[Pair]:
    """All near-duplicate pairs that the step would compare and find at or above the threshold, in order.

    Everything is in memory. Raises UsageError with verify: false, which knows no similarities.
    """
    settings = settings or MinHash()
    if not settings.verify:
        raise UsageError("Pairs are found with their similarity only.", "verify: false", "leave verify on")
    sketch = settings.sketch(Document(str(number), text, "") for number, text in enumerate(texts))
    keys = np.asarray(sketch["keys"])
    found = pairs.sharing(keys.T, np.arange(len(keys)), np.asarray(sketch["empty"]))
    scores = similarities([sketch], found.left, found.right)
    rows = zip(found.left.tolist(), found.right.tolist(), scores.tolist(), strict=True)
    return [Pair(a, b, score) for a, b, score in rows if score >= settings.threshold]


def recall(similarity: float, buckets: int, rows: int) -> float:
    """Probability that a pair of this Jaccard similarity shares a bucket: 1 - (1 - s^r)^b."""
    return float(1.0 - (1.0 - similarity**rows) ** buckets)


@cache
def functions(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(odd multipliers, addends) uint32 [H] of x -> a x + b modulo 2^32, which permute the numbers of shingles."""
    random = generator(seed, "minhash")
    multiply, add = random.integers(0, 1 << 32, (2, count), dtype=np.uint32)
    return multiply | np.uint32(1), add


def signatures(texts: Sequence[str], shingle: int = 5, count: int = 112, seed: int = 1) -> Signatures:
    """Signatures and sets of texts. A text without words has all ones and the empty set."""
    multiply, add = functions(count, seed)
    module = kernels()
    if module is None:
        return _reference(texts, shingle, multiply, add)
    values, sets, ends = module.minhash(words.encodable(texts), words.letters(), shingle, multiply, add)
    return Signatures(values, sets, ends.astype(np.int64))


def _reference(texts: Sequence[str], shingle: int, multiply: np.ndarray, add: np.ndarray) -> Signatures:
    hashes, ends = words.shingles(texts, shingle)
    sets = [np.unique(words.numbers(part)) for part in words.split(hashes, ends)]
    values = np.full((len(sets), len(multiply)), 0xFFFFFFFF, dtype=np.uint32)
    for row, numbers in zip(values, sets, strict=True):
        for first in range(0, len(numbers), 4096):  # bounds the table of 4096 x H values
            np.minimum(row, (numbers[first : first + 4096, None] * multiply + add).min(axis=0), out=row)
    return Signatures(values, *words.joined(sets, np.uint32))


def similarities(sketches: Sequence[Arrays], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64 [P]: exact Jaccard of documents by their numbers in the corpus; 0 where both sets are empty.

    Exact up to the chance that two shingles have the same 32-bit number: an error of about |set| / 2^32. Memory: the
    sets of the left documents of one round (BUDGET numbers, or one document) and one part.
    """
    sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(part["ends"], prepend=0) for part in sketches)])
    order = np.argsort(left, kind="stable")
    scores = np.zeros(len(left))
    lefts, first_pair = np.unique(left[order], return_index=True)
    rounds = np.cumsum(sizes[lefts]) // BUDGET
    for number in np.unique(rounds).tolist():
        mine = lefts[rounds == number]
        at = order[first_pair[rounds == number][0] :]
        at = at[left[at] <= mine[-1]]
        sets, starts = _sets_of(sketches, mine)
        common = _common(sketches, sets, starts, np.searchsorted(mine, left[at]), right[at])
        union = sizes[left[at]] + sizes[right[at]] - common
        scores[at] = common / np.maximum(union, 1)
    return scores


def _sets_of(sketches: Sequence[Arrays], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of the sets one after the other, uint64 [wanted + 1] starts)."""
    kept, first = [], 0
    for part in sketches:
        ends = part["ends"]
        low, high = np.searchsorted(wanted, (first, first + len(ends)))
        shingles = part["shingles"]
        for at in (wanted[low:high] - first).tolist():
            kept.append(np.array(shingles[int(ends[at - 1]) if at else 0 : int(ends[at])]))
        first += len(ends)
    sets, ends = words.joined(kept, np.uint32)
    return sets, np.concatenate([[0], ends]).astype(np.uint64)


def _common(
    sketches: Sequence[Arrays], sets: np.ndarray, starts: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """int64 [P]: numbers that set `left` of (sets, starts) shares with document `right` of the corpus."""
    counts, first = np.zeros(len(left), dtype=np.int64), 0
    for part in sketches:
        ends = np.asarray(part["ends"])
        here = np.flatnonzero((right >= first) & (right < first + len(ends)))
        if len(here):
            own = np.concatenate([[0], ends]).astype(np.uint64)
            theirs = np.ascontiguousarray(part["shingles"])
            counts[here] = overlaps(sets, starts, theirs, own, left[here], right[here] - first)
        first += len(ends)
    return counts


def overlaps(
    a: np.ndarray,
    a_starts: np.ndarray,
    b: np.ndarray,
    b_starts: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """uint32 [P]: numbers in common of set `left` of a and set `right` of b, both sorted without repeats."""
    module = kernels()
    if module is not None:
        found: np.ndarray = module.overlaps(
            a, a_starts, b, b_starts, left.astype(np.int64), right.astype(np.int64)
        )
        return found
    x, y = a_starts.astype(np.int64), b_starts.astype(np.int64)
    rows = zip(left.tolist(), right.tolist(), strict=True)
    sizes = (len(np.intersect1d(a[x[i] : x[i + 1]], b[y[j] : y[j + 1]], assume_unique=True)) for i, j in rows)
    return np.fromiter(chain(sizes), dtype=np.uint32, count=len(left))
