"""Which source the n-th sample comes from: exact shares at every n, in any process, without counting up to n.

The first n samples hold from every source what Webster's method apportions of n seats by the weights (Sainte-Laguë;
Balinski & Young 1982): whole numbers that sum to n, never fall as n grows, and differ from weight * n by about one at
most. Samples are shuffled within blocks, so that sources do not alternate in a fixed beat. All in whole numbers and
fractions: no rounding adds up, however long the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ownlm.runtime.seed import generator

BLOCK = 1024
"""Samples that are shuffled among the sources together."""


def apportion(weights: Sequence[int], seats: int) -> list[int]:
    """Seats per weight by Webster's method; ties go to the earlier weight. O(len(weights)**2) steps."""
    whole = sum(weights)
    counts = [(2 * weight * seats + whole) // (2 * whole) for weight in weights]
    missing = seats - sum(counts)
    for _ in range(missing):  # the next seat goes to the largest weight / (2 count + 1)
        best = max(range(len(weights)), key=lambda s: (Fraction(weights[s], 2 * counts[s] + 1), -s))
        counts[best] += 1
    for _ in range(-missing):  # the last seat taken was the smallest weight / (2 count - 1)
        held = [s for s in range(len(weights)) if counts[s]]
        worst = min(held, key=lambda s: (Fraction(weights[s], 2 * counts[s] - 1), -s))
        counts[worst] -= 1
    return counts


class Schedule:
    """The source of every sample and its place in that source. A pure function of weights and seed.

    `weights` are per sample and need not sum to 1; each above 0.
    """

    def __init__(self, weights: Sequence[Fraction], seed: int) -> None:
        common = math.lcm(*(weight.denominator for weight in weights))
        self.weights = [int(weight * common) for weight in weights]
        self.seed = seed
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None  # the last one: a cache, not a state

    def counts(self, samples: int) -> list[int]:
        """How many of the first `samples` samples come from every source."""
        whole, rest = divmod(samples, BLOCK)
        before = apportion(self.weights, whole * BLOCK)
        if rest:
            sources, _ = self._places(whole)
            for source in sources[:rest].tolist():
                before[source] += 1
        return before

    def take(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(source, how many samples of that source came before) of samples first .. first + count - 1, int64."""
        sources, places = [], []
        at = first
        while at < first + count:
            block, start = divmod(at, BLOCK)
            end = min(BLOCK, start + first + count - at)
            source, place = self._places(block)
            sources.append(source[start:end])
            places.append(place[start:end])
            at += end - start
        if not sources:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(sources), np.concatenate(places)

    def _places(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        if self._block is None or self._block[0] != block:
            before = np.array(apportion(self.weights, block * BLOCK), np.int64)
            here = np.array(apportion(self.weights, (block + 1) * BLOCK), np.int64) - before
            source = np.repeat(np.arange(len(here)), here)
            source = generator(self.seed, "sources", block).permutation(source)
            place = np.empty(BLOCK, np.int64)
            for number in range(len(here)):
                mine = source == number
                place[mine] = before[number] + np.arange(int(here[number]))
            self._block = (block, source, place)
        return self._block[1], self._block[2]
