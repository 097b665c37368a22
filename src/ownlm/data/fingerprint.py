"""Text as bytes whose white space is evened out, and the numbers that stand for its k-grams.

Every run of white space becomes one space, so that a line break does not hide a match. Arrays:
N bytes of normalized text, R runs of white space longer than one character.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRAM = 24  # bytes per gram
STRIDE = 9  # every STRIDE-th gram of a document is indexed
GUARANTEE = GRAM + STRIDE - 1  # a shared span of this many bytes holds an indexed gram at whatever offset

_WHITE = np.zeros(1 << 16, dtype=bool)
_WHITE[[code for code in range(1 << 16) if chr(code).isspace()]] = True
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Normalized:
    data: bytes  # UTF-8, [N]
    run_ends: np.ndarray  # int64 [R]: byte offset in `data` just after the space that a run became
    run_extra: np.ndarray  # int64 [R]: characters that the run lost


def normalize(text: str) -> Normalized:
    """Lone surrogates become "?" (one character stays one character)."""
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    white = _WHITE[np.minimum(codes, 0xFFFF)] & (codes <= 0xFFFF)
    first = white.copy()
    first[1:] &= ~white[:-1]
    keep = ~white | first
    kept = np.where(white, np.uint32(32), codes)[keep]
    if text.isascii():
        data = kept.astype(np.uint8).tobytes()
    else:
        data = kept.astype("<u4").tobytes().decode("utf-32-le").encode("utf-8")
    starts = np.flatnonzero(first)
    lengths = np.diff(np.append(np.flatnonzero(keep), len(codes)))[
        white[keep]
    ]  # of the run behind each kept space
    spaces = np.flatnonzero(np.frombuffer(data, np.uint8) == 32)  # the same spaces, as byte offsets
    assert len(starts) == len(spaces) == len(lengths), "every run of white space became exactly one space"
    longer = lengths > 1
    return Normalized(data, spaces[longer].astype(np.int64) + 1, lengths[longer].astype(np.int64) - 1)


def grams(data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """32-bit numbers [n] of the GRAM-byte grams of `data` (uint8 [N]) at `starts` (int [n])."""
    windows = np.lib.stride_tricks.sliding_window_view(data, GRAM)[starts]  # [n, GRAM]
    words = np.ascontiguousarray(windows).view("<u8")  # [n, 3]
    mixed = (words * _MULTIPLIERS).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    numbers: np.ndarray = mixed >> np.uint64(32)
    return numbers
