"""The vector-space model: one-hot vectors, bags of words, n-grams, TF-IDF, and retrieval by cosine.

    tf-idf(term, document) = tf * idf,   idf(term) = ln((1 + N) / (1 + df)) + 1,   rows scaled to length 1

with N documents and df those that hold the term: the smoothed form (Salton & Buckley 1988; the 1 + are what
scikit-learn adds, so that unseen terms divide by nothing and terms of every document keep a weight).

Letters: N documents, V terms, Q queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ownlm.errors import DataError, UsageError

Words = Sequence[str]


def ngrams(words: Words, smallest: int = 1, largest: int = 1) -> list[str]:
    """All runs of `smallest` to `largest` words, joined by a space. Raises UsageError for an empty range."""
    if not 1 <= smallest <= largest:
        raise UsageError(
            "These n-gram lengths make no sense.", f"{smallest} to {largest}", "use 1 <= smallest <= largest"
        )
    return [
        " ".join(words[at : at + n]) for n in range(smallest, largest + 1) for at in range(len(words) - n + 1)
    ]


def one_hot(words: Words, terms: Sequence[str]) -> np.ndarray:
    """uint8 [words, V]: a single 1 per row. Raises DataError for a word that is no term."""
    places = {term: n for n, term in enumerate(terms)}
    unknown = sorted(set(words) - places.keys())
    if unknown:
        raise DataError(
            "These words have no place in the one-hot vectors.", ", ".join(unknown[:10]), "add them to terms"
        )
    rows = np.zeros((len(words), len(terms)), dtype=np.uint8)
    rows[np.arange(len(words)), [places[word] for word in words]] = 1
    return rows


class VectorSpace:
    """Documents as TF-IDF rows. Dense: meant for some thousand documents (rag/ holds the index for more)."""

    def __init__(self, documents: Iterable[Words], ngram: tuple[int, int] = (1, 1)) -> None:
        """documents: words of each, as preprocess.py gives them. Raises DataError when there is no term at all."""
        self.ngram = ngram
        bags = [Counter(ngrams(words, *ngram)) for words in documents]
        self.terms = sorted({term for bag in bags for term in bag})
        if not self.terms:
            raise DataError(
                "The documents hold no word.", f"{len(bags)} documents", "check the preprocessing steps"
            )
        self._places = {term: n for n, term in enumerate(self.terms)}
        self.counts = self._bags(bags)  # int32 [N, V]: the bags of words
        df = (self.counts > 0).sum(axis=0)  # [V]
        self.idf = np.log((1 + len(bags)) / (1 + df)) + 1.0  # float64 [V]
        self.rows = _unit(self.counts * self.idf)  # float64 [N, V]

    def vectors(self, documents: Iterable[Words]) -> tuple[np.ndarray, int]:
        """(float64 [Q, V] of length 1, or 0 where no term is known; number of words that are no term)."""
        bags = [Counter(ngrams(words, *self.ngram)) for words in documents]
        unknown = sum(n for bag in bags for term, n in bag.items() if term not in self._places)
        return _unit(self._bags(bags) * self.idf), unknown

    def rank(self, query: Words, k: int = 10) -> list[tuple[int, float]]:
        """(document, cosine) of the k nearest, best first, equal ones in order; those of cosine 0 are left out."""
        vectors, _ = self.vectors([query])
        cosines = self.rows @ vectors[0]  # [N]
        order = np.argsort(-cosines, kind="stable")[:k]
        return [(int(n), float(cosines[n])) for n in order if cosines[n] > 0]

    def _bags(self, bags: Sequence[Counter[str]]) -> np.ndarray:
        rows = np.zeros((len(bags), len(self.terms)), dtype=np.int32)
        for row, bag in zip(rows, bags, strict=True):
            for term, number in bag.items():
                if term in self._places:
                    row[self._places[term]] = number
        return rows


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return rows / np.where(length == 0, 1.0, length)
