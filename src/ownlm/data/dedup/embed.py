"""Document embeddings learned from the corpus itself: no model file, no torch. Half spelling, half meaning.

spelling  tf-idf over words, projected by random signs that are bits of the word's hash (Achlioptas 2003): the cosine
          is about that of the full tf-idf vectors, with an error of 1 / sqrt(width).
meaning   the mean of word vectors, weighted as in SIF (Arora, Liang, Ma 2017): a / (a + p(word)). Word vectors are the
          leading left singular vectors of the positive pointwise mutual information of words within WINDOW words
          (Levy and Goldberg 2014), by randomized SVD (Halko et al. 2011), learned from at most SAMPLE words of the
          corpus, spread evenly. Words outside the vocabulary have spelling only.

Both halves are normalized and have equal weight, so a cosine of 1 needs the same words, while synonyms that the corpus
uses alike cost half of what other words cost. Word order does not count. What this is not: a sentence encoder trained
on paraphrases; documents of a few words, or a corpus of a few hundred, have poor vectors.

Legend: D documents, T words of a part, V vocabulary, W width of one half, N non-zero pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.data.dedup import words
from ownlm.data.flow.step import Arrays
from ownlm.runtime.seed import generator

WIDTH = 192
WINDOW = 5
VOCABULARY = 20_000
SAMPLE = 2_000_000
SIF = 1e-3
ROWS = 1 << 13  # pairs multiplied at a time: 6 MiB


@dataclass(frozen=True)
class Embedder:
    """numbers uint32 [U], sorted: every word of the corpus; idf float32 [U]; place int64 [U]: row of `vectors`
    (float32 [V + 1, W], the last row zero); weight float32 [U] of the SIF mean.
    """

    numbers: np.ndarray
    idf: np.ndarray
    place: np.ndarray
    weight: np.ndarray
    vectors: np.ndarray

    def embed(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """float32 [D, 2 W], each row of length 1, or 0 for a document without words."""
        found = np.zeros((len(ends), 2 * WIDTH), dtype=np.float32)
        for row, part in zip(found, words.split(np.asarray(tokens), np.asarray(ends)), strict=True):
            if not len(part):
                continue
            own, counts = np.unique(part, return_counts=True)
            at = np.searchsorted(self.numbers, own)
            tf_idf = (1 + np.log(counts)) * self.idf[at]
            row[:WIDTH] = _unit(_project(own, tf_idf.astype(np.float32)))
            row[WIDTH:] = _unit((counts * self.weight[at]).astype(np.float32) @ self.vectors[self.place[at]])
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: np.ndarray = found / np.where(lengths > 0, lengths, 1)
        return unit


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _project(numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of the signs of words times their weights, float32 [W]."""
    total = np.zeros(WIDTH, dtype=np.float32)
    for first in range(0, len(numbers), ROWS):
        total += weights[first : first + ROWS] @ signs(numbers[first : first + ROWS])
    return total


def signs(numbers: np.ndarray) -> np.ndarray:
    """float32 [n, W] of -1 and +1: bits of scrambled word numbers."""
    lanes = np.arange(WIDTH // 64, dtype=np.uint64)
    mixed = words.scramble((numbers.astype(np.uint64)[:, None] << np.uint64(8)) + lanes + np.uint64(1))
    bits = np.unpackbits(mixed.astype("<u8").view(np.uint8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def learn(sketches: Sequence[Arrays], seed: int) -> Embedder:
    """From sketches with `tokens` uint32 [T] (words in order) and `ends`. Two passes over the sketches.

    Memory: 20 bytes per distinct word, and about 1 GB at SAMPLE words for the pairs.
    """
    numbers, frequency, counts, num_documents = _counted(sketches)
    total = max(1, int(counts.sum()))
    idf = np.log((1 + num_documents) / (1 + frequency)) + 1
    top = np.argsort(-counts, kind="stable")[:VOCABULARY]
    top = top[counts[top] >= min(3, counts.max(initial=0))]
    place = np.full(len(numbers), len(top), dtype=np.int64)
    place[top] = np.arange(len(top))
    vectors = _word_vectors(_sample(sketches, numbers, place, len(top), total), len(top), seed)
    return Embedder(
        numbers,
        idf.astype(np.float32),
        place,
        (SIF / (SIF + counts / total)).astype(np.float32),
        np.concatenate([vectors, np.zeros((1, WIDTH), np.float32)]),
    )


def _counted(sketches: Sequence[Arrays]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """(word numbers, documents that have each, occurrences of each, documents)."""
    numbers, frequency, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    num_documents = 0
    for part in sketches:
        ends = np.asarray(part["ends"])
        owner = np.repeat(np.arange(len(ends), dtype=np.uint64), np.diff(ends, prepend=0))
        pairs, times = np.unique(
            (np.asarray(part["tokens"]).astype(np.uint64) << np.uint64(32)) | owner, return_counts=True
        )
        own, first = np.unique((pairs >> np.uint64(32)).astype(np.uint32), return_index=True)
        both = np.union1d(numbers, own)
        new_frequency, new_counts = np.zeros(len(both), np.int64), np.zeros(len(both), np.int64)
        old, mine = np.searchsorted(both, numbers), np.searchsorted(both, own)
        new_frequency[old], new_counts[old] = frequency, counts
        if len(own):
            new_frequency[mine] += np.diff(np.append(first, len(pairs)))
            new_counts[mine] += np.add.reduceat(times, first)
        numbers, frequency, counts = both, new_frequency, new_counts
        num_documents += len(ends)
    return numbers, frequency, counts, num_documents


def _sample(
    sketches: Sequence[Arrays], numbers: np.ndarray, place: np.ndarray, size: int, total: int
) -> Iterator[np.ndarray]:
    """Rows of the vocabulary (`size` for other words), one array per document: every n-th document of the corpus."""
    stride = -(-total // SAMPLE)
    number = 0
    for part in sketches:
        for tokens in words.split(np.asarray(part["tokens"]), np.asarray(part["ends"])):
            if number % stride == 0:
                yield place[np.searchsorted(numbers, tokens[:SAMPLE])]
            number += 1


def _word_vectors(rows: Iterator[np.ndarray], size: int, seed: int) -> np.ndarray:
    """float32 [V, W]; zeros where the corpus has too few words for a decomposition."""
    found = [np.append(row, np.full(WINDOW, size)) for row in rows]  # no pair reaches over a document's end
    text = np.concatenate([np.zeros(0, np.int64), *found])
    keys = [np.zeros(0, np.int64)]
    for offset in range(1, WINDOW + 1):
        a, b = text[:-offset], text[offset:]
        both = (a < size) & (b < size)
        keys.append(a[both] * size + b[both])
        keys.append(b[both] * size + a[both])
    key, counts = np.unique(np.concatenate(keys), return_counts=True)
    vectors = np.zeros((size, WIDTH), dtype=np.float32)
    if not len(key):
        return vectors
    left, right = key // size, key % size
    own = np.bincount(left, counts, minlength=size)
    context = own**0.75  # context distribution smoothing (Levy, Goldberg, Dagan 2015)
    value = np.log(counts * context.sum() / (own[left] * context[right]))
    positive = value > 0
    matrix = _Sparse(left[positive], right[positive], value[positive].astype(np.float32), size)
    width = min(WIDTH, size)
    probe = generator(seed, "embed").standard_normal((size, width)).astype(np.float32)
    basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.transposed() @ (matrix @ probe))[0])[0]
    w, s, _ = np.linalg.svd((matrix.transposed() @ basis).T, full_matrices=False)
    vectors[:, :width] = (basis @ w) * np.sqrt(s)
    return vectors


@dataclass(frozen=True)
class _Sparse:
    """rows int64 [N] ascending, columns int64 [N], values float32 [N] of a square matrix."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    size: int

    def transposed(self) -> _Sparse:
        order = np.argsort(self.columns, kind="stable")
        return _Sparse(self.columns[order], self.rows[order], self.values[order], self.size)

    def __matmul__(self, dense: np.ndarray) -> np.ndarray:
        out = np.zeros((self.size, dense.shape[1]), dtype=np.float32)
        for first in range(0, len(self.rows), ROWS):
            at = slice(first, first + ROWS)
            rows = self.rows[at]
            starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
            out[rows[starts]] += np.add.reduceat(
                self.values[at, None] * dense[self.columns[at]], starts, axis=0
            )
        return out
