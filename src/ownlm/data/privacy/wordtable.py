"""What the name model says of each word by itself, worked out once per word.

Most features look at one word, so their weights are summed per word and place (slot) once and then only looked up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np

from ownlm.data.privacy import features

MOST = 1 << 16  # words kept; then the table starts anew, so that memory stays bounded (17 MB)


class WordTable:
    """weights: [2 ** BITS, L] integers; hashes: words -> [W, COLUMNS]. May be used by several threads."""

    def __init__(self, weights: np.ndarray, hashes: Callable[[list[str]], np.ndarray]) -> None:
        self._weights, self._hashes_of = weights, hashes
        self._lock = threading.Lock()
        self._clear(1024)

    def _clear(self, size: int) -> None:
        """Row 0 stands for the gap between two texts."""
        self._index: dict[str | None, int] = {None: 0}
        self._hashes = np.full((size, features.COLUMNS), features.NOTHING, np.uint64)
        self._says = np.zeros((features.SLOTS, size, self._weights.shape[1]), np.int16)
        self._says[:, :1] = self._sums(self._hashes[:1])

    def _sums(self, hashes: np.ndarray) -> np.ndarray:
        """[SLOTS, W, L]: the weights of a word's features, added up per slot."""
        says = np.zeros((features.SLOTS, len(hashes), self._weights.shape[1]), np.int16)
        rows = features.lone_rows(hashes)
        for number, slot in enumerate(features.SLOT_OF.tolist()):
            says[slot] += self._weights[rows[:, number]]
        return says

    def look_up(self, words: list[str | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ids [T] of the words (None: a gap), and by id the hashes [W, COLUMNS] and sums [SLOTS, W, L] of all words."""
        with self._lock:
            new = [word for word in dict.fromkeys(words) if word not in self._index]
            if new and len(self._index) + len(new) > MOST:
                self._clear(1024)
                new = [word for word in dict.fromkeys(words) if word is not None]
            if new:
                self._add(new)
            index = self._index
            ids = np.fromiter([index[word] for word in words], np.int64, len(words))
            return ids, self._hashes, self._says

    def _add(self, new: Iterable[str | None]) -> None:
        words = [word for word in new if word is not None]
        start, end = len(self._index), len(self._index) + len(words)
        if end > len(self._hashes):
            # New arrays, so that what another thread was given stays as it is.
            size = max(end, 2 * len(self._hashes))
            hashes = np.full((size, features.COLUMNS), features.NOTHING, np.uint64)
            says = np.zeros((features.SLOTS, size, self._weights.shape[1]), np.int16)
            hashes[:start], says[:, :start] = self._hashes[:start], self._says[:, :start]
            self._hashes, self._says = hashes, says
        hashes = self._hashes_of(words)
        self._hashes[start:end], self._says[:, start:end] = hashes, self._sums(hashes)
        self._index.update(zip(words, range(start, end), strict=True))
