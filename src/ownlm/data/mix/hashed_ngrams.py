"""Counts of hashed word unigrams and bigrams of a text: the features of DSIR, vectorised and linear in the text.

A word is a run of letters, digits and characters beyond ASCII, or a run of other visible ASCII characters; white space
parts them and counts for nothing. Lower case. Hashes are those of a polynomial over the UTF-8 bytes modulo 2**64:
with H the running sum of byte * P**i, a word's hash is (H[end] - H[start]) * P**-start, since odd P has an inverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

_P = 0x9E3779B97F4A7C15
_P_INVERSE = pow(_P, -1, 1 << 64)
_MASK = (1 << 64) - 1
_PIECE = 1 << 16
_STEP, _STEP_INVERSE = pow(_P, _PIECE, 1 << 64), pow(_P_INVERSE, _PIECE, 1 << 64)


def _classes() -> np.ndarray:
    table = np.full(256, 2, np.uint8)  # other visible characters
    table[:33] = 0
    table[127] = 0
    for low, high in ((48, 58), (65, 91), (97, 123), (128, 256)):
        table[low:high] = 1
    return table


_CLASS = _classes()


@cache
def _powers(factor: int) -> np.ndarray:
    """factor**i modulo 2**64 for i below the piece length, uint64."""
    powers = np.empty(_PIECE, np.uint64)
    powers[0] = 1
    filled, step = 1, factor
    while filled < _PIECE:
        powers[filled : 2 * filled] = powers[:filled] * np.uint64(step)
        filled, step = 2 * filled, step * step & _MASK
    return powers


def mix64(values: np.ndarray) -> np.ndarray:
    """Spread uint64 over all bits: the finaliser of MurmurHash3."""
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(multiplier)
    return np.asarray(values ^ (values >> np.uint64(33)))


def word_hashes(text: str) -> np.ndarray:
    """One uint64 per word, in order."""
    return np.concatenate([np.zeros(0, np.uint64), *_words(text)])


def _words(text: str) -> Iterator[np.ndarray]:
    """Hashes of the words that end in each piece of 64 KB, so that the arrays stay in the caches."""
    data = np.frombuffer(text.lower().encode("utf-8", "surrogatepass"), np.uint8)
    scale = inverse = 1  # P and 1/P to the power of the piece's first place
    before, last = 0, 0  # running sum in front of the piece; class of the byte in front of it
    open_word = np.zeros(
        (2, 0), np.uint64
    )  # (running sum, inverse power) where a word began that has not ended
    for first in range(0, len(data), _PIECE):
        piece = data[first : first + _PIECE]
        kind = _CLASS[piece]
        sums = np.empty(len(piece) + 1, np.uint64)
        sums[0] = before
        np.cumsum(piece * (_powers(_P)[: len(piece)] * np.uint64(scale)), out=sums[1:])
        sums[1:] += np.uint64(before)
        edges = np.flatnonzero(kind != np.append(np.uint8(last), kind[:-1]))
        starts = edges[kind[edges] != 0]
        was = np.where(edges > 0, kind[edges - 1], last)
        ends = edges[was != 0]
        begun = np.stack((sums[starts], _powers(_P_INVERSE)[starts] * np.uint64(inverse)))
        begun = np.concatenate((open_word, begun), axis=1)
        done = begun[:, : len(ends)]
        yield mix64((sums[ends] - done[0]) * done[1])
        open_word = begun[:, len(ends) :]
        before, last = int(sums[-1]), int(kind[-1])
        scale, inverse = scale * _STEP & _MASK, inverse * _STEP_INVERSE & _MASK
    yield mix64((np.uint64(before) - open_word[0]) * open_word[1])


def features(text: str, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """(bucket numbers ascending, counts) of the unigrams and bigrams of a text, both int64."""
    counts = np.zeros(buckets, np.int64)
    previous = np.zeros(0, np.uint64)
    for words in _words(text):
        joined = np.concatenate((previous, words))
        pairs = mix64(joined[:-1] * np.uint64(_P) + joined[1:])
        every = np.concatenate((words, pairs)) % np.uint64(buckets)
        counts += np.bincount(every.astype(np.int64), minlength=buckets)
        previous = joined[-1:]
    numbers = np.flatnonzero(counts)
    return numbers, counts[numbers]
