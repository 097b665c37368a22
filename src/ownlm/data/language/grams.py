"""The letter n-grams of a text as hashes: what the language table is asked for.

A text is lower-cased and cut into runs of letters (`str.isalpha`; digits, punctuation and combining marks end a run).
An n-gram lies inside one run. Both the table's maker (scripts/language_table.py) and its reader hash with this file.
"""

from __future__ import annotations

from functools import cache

import numpy as np

ORDERS = 4  # n-grams of 1 to 4 letters
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@cache
def is_letter() -> np.ndarray:
    """bool [65536]: letters of the basic plane. Rarer planes hold no letters of the languages known here."""
    return np.array([chr(code).isalpha() for code in range(1 << 16)])


def codes_of(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Code points of a lower-cased text, uint32 [T], and which of them are letters, bool [T]."""
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32)
    return codes, is_letter()[np.minimum(codes, 0xFFFF)]


def main_script(codes: np.ndarray, letter: np.ndarray) -> np.ndarray:
    """Only the Latin letters, or only the others, whichever fill more bytes of UTF-8: English terms in a Chinese text
    are many letters and few words."""
    latin = letter & ((codes < 0x2B0) | ((codes >= 0x1E00) & (codes < 0x1F00)))
    other = letter & ~latin
    bytes_of_others = 2 * np.count_nonzero(other) + np.count_nonzero(other & (codes >= 0x800))
    return other if bytes_of_others > np.count_nonzero(latin) else latin


def hashes(codes: np.ndarray, letter: np.ndarray) -> list[np.ndarray]:
    """Per order 1 to ORDERS, the hash of every n-gram of letters in order of appearance, uint64."""
    found: list[np.ndarray] = []
    wide = codes.astype(np.uint64) + np.uint64(1)
    running, inside = np.zeros(len(wide), dtype=np.uint64), np.ones(len(wide), dtype=bool)
    for n in range(1, ORDERS + 1):
        length = max(len(wide) - n + 1, 0)
        running = (running[:length] + wide[n - 1 :]) * _MULTIPLIER
        running ^= running >> _SHIFT
        inside = inside[:length] & letter[n - 1 :]
        found.append(running[inside])
    return found
