"""Kneser-Ney: sums to one, equals a slow readable reference, and a hand-worked case."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from ownlm.data.ngram import FALLBACK, KneserNey
from ownlm.errors import UsageError


class Reference:
    """Equations 24 to 27 of Chen & Goodman with dictionaries, one token at a time."""

    def __init__(self, sequences, vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        pad = (vocab_size,) * max(order - 1, 1)
        grams = Counter()
        for sequence in sequences:
            padded = pad + tuple(sequence)
            for at in range(len(pad), len(padded)):
                grams[padded[at - order + 1 : at + 1]] += 1
        self.counts = [Counter() for _ in range(order)]
        self.counts[-1] = grams
        for n in range(order - 1, 0, -1):
            left = defaultdict(set)
            for gram in self.counts[n]:
                left[gram[1:]].add(gram[0])
            self.counts[n - 1] = Counter({gram: len(words) for gram, words in left.items()})
        self.discounts = [self._discounts(counts) for counts in self.counts]

    @staticmethod
    def _discounts(counts):
        n = Counter(counts.values())
        if not all(n[k] for k in (1, 2, 3, 4)):
            return FALLBACK
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
        return found if all(0 < value <= k for k, value in enumerate(found, 1)) else FALLBACK

    def probability(self, history: tuple[int, ...], word: int) -> float:
        result = 1 / self.vocab_size
        for n in range(self.order):
            h = history[len(history) - n :]
            after = {gram[-1]: count for gram, count in self.counts[n].items() if gram[:-1] == h}
            total = sum(after.values())
            if not total:
                break
            d = (0, *self.discounts[n])
            freed = sum(d[min(count, 3)] for count in after.values())
            count = after.get(word, 0)
            result = (count - d[min(count, 3)]) / total + freed / total * result
        return result


def sample(rng: random.Random, vocab_size: int, count: int):
    weights = [1 / (n + 1) for n in range(vocab_size)]
    return [rng.choices(range(vocab_size), weights, k=rng.randrange(0, 60)) for _ in range(count)] + [[0]]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("vocab_size", [3, 12])
def test_against_the_reference(order, vocab_size):
    rng = random.Random(order * 100 + vocab_size)
    train = sample(rng, vocab_size, 25)
    fast, slow = KneserNey(order).fit(train, vocab_size), Reference(train, vocab_size, order)
    np.testing.assert_allclose(fast.discounts, slow.discounts)
    for ids in sample(rng, vocab_size, 5):
        padded = (vocab_size,) * max(order - 1, 1) + tuple(ids)
        skip = max(order - 1, 1)
        wanted = [math.log(slow.probability(padded[: at + skip], word)) for at, word in enumerate(ids)]
        np.testing.assert_allclose(fast.log_probs(ids), wanted, rtol=1e-9)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_probabilities_sum_to_one_after_any_history(order):
    rng = random.Random(7)
    vocab_size = 5
    model = KneserNey(order).fit(sample(rng, vocab_size - 1, 20), vocab_size)  # the last id never occurs
    for history in itertools.product(range(vocab_size), repeat=3):
        total = sum(math.exp(model.log_probs([*history, word])[-1]) for word in range(vocab_size))
        assert total == pytest.approx(1, abs=1e-12)


def test_a_case_by_hand():
    """Bigrams of "0 1 0 2": unigram counts are left neighbours (0: {boundary, 1}, 1: {0}, 2: {0}), discounts fall back."""
    model = KneserNey(2).fit([[0, 1, 0, 2]], 3)
    unigram_1 = (1 - 0.5) / 4 + (1.0 + 0.5 + 0.5) / 4 / 3
    wanted = (1 - 0.5) / 2 + (0.5 + 0.5) / 2 * unigram_1  # P(1 | 0)
    assert math.exp(model.log_probs([0, 1])[1]) == pytest.approx(wanted)


def test_longer_histories_help_on_real_structure():
    rng = np.random.default_rng(0)
    phrase = rng.integers(0, 50, 40)
    text = np.concatenate([np.concatenate([phrase, rng.integers(0, 50, 10)]) for _ in range(100)])
    losses = [-KneserNey(order).fit([text[:4000]], 50).log_prob(text[4000:]) for order in (1, 2, 5)]
    assert losses[0] > losses[1] > losses[2]


def test_bad_input():
    with pytest.raises(UsageError):
        KneserNey(0)
    with pytest.raises(UsageError):
        KneserNey().log_prob([1])
    with pytest.raises(UsageError):
        KneserNey().fit([[], []], 5)
    with pytest.raises(UsageError):
        KneserNey().fit([[0, 5]], 5)
    with pytest.raises(UsageError):
        KneserNey().fit([[0, 4]], 5).log_prob([-1])
    assert KneserNey().fit([[0, 4]], 5).log_prob([]) == 0.0
