"""Interpolated modified Kneser-Ney over token ids: the n-gram baseline that a language model has to beat.

Chen & Goodman, "An empirical study of smoothing techniques for language modeling" (1999), section 4.1.6 of TR-10-98:

    P(w | h) = (max(a(hw) - D(a(hw)), 0)) / sum_v a(hv)  +  g(h) P(w | h')                                  (eq. 26)
    g(h)     = (D1 N1(h.) + D2 N2(h.) + D3 N3+(h.)) / sum_v a(hv)                                           (eq. 27)
    Y = n1 / (n1 + 2 n2),  D1 = 1 - 2 Y n2/n1,  D2 = 2 - 3 Y n3/n2,  D3 = 3 - 4 Y n4/n3                     (eq. 24, 17)

a(.) is the count for the highest order and the number of different left neighbours below it; h' is h without its
first token; the unigram is interpolated with 1/V, so every token has a probability and they sum to 1. A history that
never occurred passes its weight on entirely: P(w | h) = P(w | h').

Sequences are independent: each begins with order-1 copies of a boundary symbol (id V) that is never predicted.

N-grams are counted by sorting. A gram of order n is the number (rank of its first n-1 tokens) * (V+1) + last token,
which always fits 64 bits; its rank is its place among the sorted distinct numbers of that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.errors import UsageError

FALLBACK = (
    0.5,
    1.0,
    1.5,
)  # discounts where the counts of counts are too few to estimate them (as KenLM's option)


@dataclass(frozen=True, slots=True)
class _Order:
    """The grams of one order: G distinct grams, C distinct histories (grams of the order below, by rank)."""

    keys: np.ndarray  # int64 [G], sorted
    share: np.ndarray  # float64 [G]: (a - D(a)) / sum over the history
    weight: np.ndarray  # float64 [C]: g(history); 1.0 where the history was never continued
    discounts: tuple[float, float, float]


class KneserNey:
    """`fit` once, then `log_prob`. Memory: about 24 bytes per distinct gram of each order."""

    def __init__(self, order: int = 5) -> None:
        if order < 1:
            raise UsageError("An n-gram model needs an order of at least 1.", f"order={order}", "use 5")
        self.order = order
        self.vocab_size = 0
        self._orders: list[_Order] = []

    def fit(self, sequences: Iterable[Sequence[int] | np.ndarray], vocab_size: int) -> KneserNey:
        """Count and smooth. ids are 0 <= id < vocab_size; raises UsageError otherwise or without any token."""
        self.vocab_size = vocab_size
        words, predicted = self._joined(sequences)
        if not predicted.any():
            raise UsageError("There are no tokens to count.", "0 tokens", "give at least one sequence")
        ranks: list[np.ndarray] = []  # per order: rank of the gram that ends at each position, int64 [T]
        keys: list[np.ndarray] = []
        examples: list[np.ndarray] = []  # per order: a position where each gram ends
        before = np.zeros(len(words), dtype=np.int64)  # rank of the history; one empty history for order 1
        for _ in range(self.order):
            number = before * (vocab_size + 1) + words
            distinct, example, rank = np.unique(number, return_index=True, return_inverse=True)
            keys.append(distinct)
            examples.append(example)
            ranks.append(rank)
            before = np.concatenate([[0], rank[:-1]])
        self._orders = [self._smoothed(n, keys, ranks, examples, predicted) for n in range(self.order)]
        return self

    def _joined(self, sequences: Iterable[Sequence[int] | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """All sequences with their boundaries in front, int64 [T], and where a token is predicted, bool [T]."""
        boundary = np.full(max(self.order - 1, 1), self.vocab_size, dtype=np.int64)
        parts: list[np.ndarray] = []
        for sequence in sequences:
            ids = np.asarray(sequence, dtype=np.int64)
            if len(ids) and (ids.min() < 0 or ids.max() >= self.vocab_size):
                values = f"ids {ids.min()} to {ids.max()}, vocabulary {self.vocab_size}"
                raise UsageError(
                    "A token id is outside the vocabulary.", values, "use the tokenizer of this text"
                )
            parts += [boundary, ids]
        words = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return words, words != self.vocab_size

    def _smoothed(
        self,
        n: int,
        keys: list[np.ndarray],
        ranks: list[np.ndarray],
        examples: list[np.ndarray],
        predicted: np.ndarray,
    ) -> _Order:
        """Shares and weights of order n + 1. Grams that end in a boundary are no events: their count is 0."""
        if n == self.order - 1:
            counts = np.bincount(ranks[n][predicted], minlength=len(keys[n]))
        else:  # each distinct gram of the order above is one left neighbour of its last n + 1 tokens
            ends = examples[n + 1]
            counts = np.bincount(ranks[n][ends[predicted[ends]]], minlength=len(keys[n]))
        histories = keys[n] // (self.vocab_size + 1)
        num_histories = 1 if n == 0 else len(keys[n - 1])
        discounts = _discounts(counts)
        taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
        total = np.bincount(histories, counts, minlength=num_histories)
        freed = np.bincount(histories, taken, minlength=num_histories)
        continued = total > 0
        weight = np.where(continued, freed / np.where(continued, total, 1.0), 1.0)
        share = (counts - taken) / np.where(continued, total, 1.0)[histories]
        return _Order(keys[n], share, weight, discounts)

    def log_prob(self, ids: Sequence[int] | np.ndarray) -> float:
        """Sum of ln P over one sequence, in nats."""
        return float(self.log_probs(ids).sum())

    def log_probs(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """ln P of each token given those before it, float64 [T]."""
        if not self._orders:
            raise UsageError("The n-gram model has not been fitted.", "", "call fit first")
        words, predicted = self._joined([ids])
        probability = np.full(len(words), 1.0 / self.vocab_size)
        history = np.zeros(len(words), dtype=np.int64)  # rank of the history at each position; -1 when unseen
        for order in self._orders:
            at = np.flatnonzero(history >= 0)
            before = history[at]
            number = before * (self.vocab_size + 1) + words[at]
            rank = _ranked(order.keys, number)
            seen = order.keys[rank] == number
            probability[at] = np.where(seen, order.share[rank], 0.0) + order.weight[before] * probability[at]
            history = np.full(len(words), -1, dtype=np.int64)
            after = at[seen] + 1  # the gram that ends here is the history of the next position
            history[after[after < len(words)]] = rank[seen][: np.count_nonzero(after < len(words))]
        result: np.ndarray = np.log(probability[predicted])
        return result

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything that log_probs needs: keys, share and weight of each order, unigrams first."""
        return {
            f"{name}{n}": getattr(order, name)
            for n, order in enumerate(self._orders, 1)
            for name in ("keys", "share", "weight")
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray], vocab_size: int) -> KneserNey:
        """The model that gave these tensors, which may be memory-mapped or of lower precision; no discounts."""
        model = cls(order=sum(name.startswith("keys") for name in tensors))
        model.vocab_size = vocab_size
        for n in range(1, model.order + 1):
            keys, share, weight = (tensors[f"{name}{n}"] for name in ("keys", "share", "weight"))
            model._orders.append(_Order(keys, share, weight, (0.0, 0.0, 0.0)))
        return model

    @property
    def discounts(self) -> list[tuple[float, float, float]]:
        """(D1, D2, D3+) of each order, unigrams first."""
        return [order.discounts for order in self._orders]

    @property
    def num_grams(self) -> list[int]:
        return [len(order.keys) for order in self._orders]


def _ranked(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Where each number is among the keys or would be, at most the last place. Searched in order: few cache misses."""
    order = np.argsort(numbers)
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[order] = np.searchsorted(keys, numbers[order])
    return np.minimum(rank, len(keys) - 1)


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """Equation 17 from the counts of counts; FALLBACK where one of them is 0 or a discount leaves 0..its count."""
    n1, n2, n3, n4 = (float(np.count_nonzero(counts == value)) for value in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < value <= top for value, top in zip(found, (1, 2, 3), strict=True)) else FALLBACK
