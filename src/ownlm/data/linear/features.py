"""A text as hashed features: words, pairs of neighbouring words, and runs of five bytes.

Each feature is a bucket number; three kinds share one table of 2^bits buckets (Weinberger et al. 2009, feature hashing;
we leave out the sign, since the table is large against the features that matter). ASCII letters are lower-cased and
digits are all 0. A word is a run of ASCII letters and digits and of bytes above 127, so Chinese has few and long words;
its evidence is in the byte runs.

Everything is NumPy over 64 KiB pieces: time is linear and memory bounded for any text. A word that crosses the border
of two pieces counts as two.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

KINDS = 3
PIECE = 1 << 16  # bytes
_RUN = 5
_FOLD = bytes(
    code + 32 if 65 <= code <= 90 else 48 if 48 <= code <= 57 else 32 if code in (9, 10, 11, 12, 13) else code
    for code in range(256)
)
_IN_WORD = np.array([code >= 128 or chr(code).isalnum() for code in range(256)])
_BASE = 0x9E3779B97F4A7C15
_MIX, _PAIR = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)


@cache
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """Powers of an odd number modulo 2^64 and of its inverse, uint64 [PIECE + 1]."""
    inverse = np.uint64(pow(_BASE, -1, 1 << 64))
    ones = np.ones(PIECE, dtype=np.uint64)
    start = np.ones(1, dtype=np.uint64)
    up = np.multiply.accumulate(np.concatenate([start, ones * np.uint64(_BASE)]))
    down = np.multiply.accumulate(np.concatenate([start, ones * inverse]))
    return up, down


def pieces(text: str) -> Iterator[bytes]:
    """The folded UTF-8 bytes of a text, at most PIECE at a time."""
    for start in range(0, len(text), PIECE):
        data = text[start : start + PIECE].encode("utf-8", "replace").translate(_FOLD)
        for first in range(0, len(data), PIECE):
            yield data[first : first + PIECE]


def word_edges(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where the words of one piece start and end, int64 [W] each."""
    inside = np.zeros(len(data) + 2, dtype=bool)
    inside[1:-1] = _IN_WORD[np.frombuffer(data, dtype=np.uint8)]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return edges[::2], edges[1::2]


def word_hashes(data: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """One hash per word of one piece, uint64 [W].

    sum of byte * b^position over the word, times b^-(start), from differences of a running sum modulo 2^64.
    """
    codes = np.frombuffer(data, dtype=np.uint8)
    up, down = _powers()
    running = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * up[: len(codes)], out=running[1:])
    found: np.ndarray = (running[ends] - running[starts]) * down[starts] * _MIX
    found ^= found >> _HALF
    return found


def buckets(data: bytes, bits: int) -> tuple[np.ndarray, ...]:
    """The bucket of every feature of one piece, per kind: words, pairs, byte runs. uint64, below 2^bits."""
    shift = np.uint64(64 - bits)
    words = word_hashes(data, *word_edges(data))
    pairs = (words[:-1] * _PAIR + words[1:]) * _MIX
    count = max(len(data) - _RUN + 1, 0)
    eight = np.ndarray(
        (count,), dtype="<u8", buffer=data + bytes(8), strides=(1,)
    )  # unaligned reads of 8 bytes
    runs: np.ndarray = (eight << np.uint64(8 * (8 - _RUN))) * _MIX
    return (words * _MIX) >> shift, pairs >> shift, (runs ^ (runs >> _HALF)) * _PAIR >> shift
