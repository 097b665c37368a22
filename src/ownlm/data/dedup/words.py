"""What a word is here, and the hashes of words and of k words in a row (shingles).

A word is a maximal run of letters, digits, marks and "_", lower-cased character by character; a character of a script
written without spaces (Han, Kana, Thai, Lao, Khmer, Burmese) is a word of its own. Everything else separates. So texts
that differ in case, punctuation or white space have equal words.

Hashes are fixed for ever: a word is the polynomial of its code points modulo 2^64, a shingle that of its words, each
passed through the finalizer of splitmix64. They are quick, not cryptographic: somebody who wants two texts to collide
can make them. The kernels of native/words.hpp give the same numbers as the numpy code here, which is the fallback.

Legend: D texts, W words, S shingles, all texts one after the other; `ends` int64 [D] is where each text's part ends.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ownlm.runtime.native import kernels

CODES = 0x40000  # planes 0 to 3; whatever lies above separates
SINGLE = 0x80000000  # marks a character that is a word
_SCRIPTS = (
    (0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x31F0, 0x3200), (0x3400, 0x4DC0),
    (0x4E00, 0xA000), (0xF900, 0xFB00), (0xFF66, 0xFFA0), (0x1B000, 0x1B170), (0x20000, 0x40000),
)  # fmt: skip
_LETTER = 0x9E3779B97F4A7C15
_WORD = 0xD6E8FEB86659FD93


class Words(NamedTuple):
    """hashes uint64 [W]; starts and stops uint32 [W], in characters of the text; ends int64 [D]."""

    hashes: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    ends: np.ndarray


@cache
def letters() -> np.ndarray:
    """uint32 [CODES]: 0 for a separator, else the lower-cased code point, with SINGLE where it is a word."""
    table = np.zeros(CODES, dtype=np.uint32)
    for code in range(CODES):
        character = chr(code)
        if character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M":
            table[code] = ord(character.lower()[0])
    for first, behind in _SCRIPTS:
        table[first:behind][table[first:behind] > 0] |= np.uint32(SINGLE)
    table.flags.writeable = False
    return table


def words(texts: Sequence[str]) -> Words:
    module = kernels()
    if module is None:
        return _reference_words(texts)
    hashes, starts, stops, ends = module.words(encodable(texts), letters())
    return Words(hashes, starts, stops, ends.astype(np.int64))


def shingles(texts: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 [S], ends): hashes in order, repeats included. A text of fewer than k words is one shingle."""
    module = kernels()
    if module is None:
        found = _reference_words(texts)
        parts = [_of_words(part, k) for part in split(found.hashes, found.ends)]
        return joined(parts, np.uint64)
    hashes, ends = module.shingles(encodable(texts), letters(), k)
    return hashes, ends.astype(np.int64)


def numbers(hashes: np.ndarray) -> np.ndarray:
    """Shingle hashes as uint32, their upper halves: what sets are kept in."""
    return (hashes >> np.uint64(32)).astype(np.uint32)


def scramble(values: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014) over uint64 values."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def split(values: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    return np.split(values, ends[:-1]) if len(ends) else []


def joined(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> tuple[np.ndarray, np.ndarray]:
    """One array and where each part ends in it; right for no parts too."""
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return np.concatenate([np.zeros(0, dtype), *parts]), ends


def encodable(texts: Sequence[str]) -> list[str]:
    """Lone surrogates become "?" (one character stays one), which separates as they would."""
    return [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in texts]


def _reference_words(texts: Sequence[str]) -> Words:
    found = [_words_of(text) for text in texts]
    hashes, ends = joined([row[0] for row in found], np.uint64)
    starts = joined([row[1] for row in found], np.uint32)[0]
    stops = joined([row[2] for row in found], np.uint32)[0]
    return Words(hashes, starts, stops, ends)


def _words_of(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    row = np.where(codes < CODES, letters()[np.minimum(codes, CODES - 1)], np.uint32(0))
    word, single = row > 0, (row & np.uint32(SINGLE)) > 0
    before = np.concatenate([[False], (word & ~single)[:-1]]) if len(row) else word
    starts = np.flatnonzero(word & (single | ~before))
    closes = np.concatenate(
        [~word | single, [True]]
    )  # the place behind a word: a separator, a single, the end
    behind = np.flatnonzero(closes)
    stops = np.where(single[starts], starts + 1, behind[np.searchsorted(behind, starts)])
    if not len(starts):
        return np.zeros(0, np.uint64), starts.astype(np.uint32), starts.astype(np.uint32)
    longest = int((stops - starts).max())
    powers = np.full(longest, _LETTER, np.uint64)
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    inside = np.flatnonzero(word)
    owner = np.searchsorted(starts, inside, side="right") - 1
    terms = row[inside].astype(np.uint64) * powers[stops[owner] - 1 - inside]
    first = np.searchsorted(inside, starts)
    return scramble(np.add.reduceat(terms, first)), starts.astype(np.uint32), stops.astype(np.uint32)


def _of_words(hashes: np.ndarray, k: int) -> np.ndarray:
    width = min(k, len(hashes))
    if not width:
        return np.zeros(0, np.uint64)
    total = np.zeros(len(hashes) - width + 1, np.uint64)
    for offset in range(width):
        total = total * np.uint64(_WORD) + hashes[offset : offset + len(total)]
    return scramble(total)
