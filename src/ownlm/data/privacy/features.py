"""Tokens of a text and the hashed features that the name model sees of each.

A word is hashed once (its form, affixes, shape, lists it is in); the features of a place in the text are those hashes
of the word and its neighbours, mixed with the number of the feature in numpy, so a text costs few Python steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import xxhash

from ownlm.data.privacy import gazetteer

BITS = 17  # rows of the weight table: 2 ** BITS
TOKEN = re.compile(r"\n|[^\W\d_]+(?:[-'’](?=[A-ZÀ-Þ])[^\W\d_]+)*|\d+|['’]s\b|[^\w\s]|_")
SPLIT = re.compile(f"({TOKEN.pattern})")

# Columns of a word's hashes.
LOWER, SHAPE, PREFIX2, PREFIX3, SUFFIX2, SUFFIX3, SUFFIX4, LISTS, KNOWN, KIND, FORM = range(11)
_AT_NEIGHBOUR = (LOWER, SUFFIX3, LISTS, KNOWN, KIND)
_AT_SECOND = (LOWER, LISTS, KIND)
_PAIRS = (
    ((-1, LOWER), (0, KIND)),
    ((0, KIND), (1, LOWER)),
    ((-1, LOWER), (0, KNOWN)),
    ((0, KNOWN), (1, KIND)),
    ((-1, KIND), (0, SHAPE)),
    ((0, SHAPE), (1, KIND)),
    ((-1, LISTS), (0, LISTS)),
    ((0, LISTS), (1, LISTS)),
    ((-2, LOWER), (-1, LOWER)),
    ((1, LOWER), (2, LOWER)),
    ((-1, LOWER), (1, LOWER)),
    ((-1, KNOWN), (0, KNOWN)),
    ((0, KNOWN), (1, KNOWN)),
    ((-1, KIND), (1, KIND)),
    ((-2, KIND), (-1, KIND)),
    ((1, KIND), (2, KIND)),
)
_SINGLES = (
    *((0, column) for column in range(11)),
    *((offset, column) for offset in (-1, 1) for column in _AT_NEIGHBOUR),
    *((offset, column) for offset in (-2, 2) for column in _AT_SECOND),
    (-3, LOWER),
    (3, LOWER),
)
_TRIPLES = (
    ((-1, KIND), (0, SHAPE), (1, KIND)),
    ((-2, KIND), (-1, KIND), (0, KIND)),
    ((0, KIND), (1, KIND), (2, KIND)),
)
REACH = 3  # tokens to each side that a feature looks at, but for the anchors
NOTHING = 7  # stands for the hashes of a token outside of the text
COLUMNS = 11
_ANCHORS = ("x", "\n", ":", '"')  # kinds of the words and signs that stand around names


LONE = len(_SINGLES) + 2  # features of one word: its own, its neighbours', the two anchors'
FEATURES = LONE + len(_PAIRS) + len(_TRIPLES) + 4
_NUMBERS = np.arange(1, FEATURES + 1, dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX2 = np.uint64(0xC2B2AE3D27D4EB4F)
# Where the word of a lone feature stands: REACH to the left ... REACH to the right, left anchor, right anchor.
SLOTS = 2 * REACH + 3
SLOT_OF = np.array([*(offset + REACH for offset, _ in _SINGLES), SLOTS - 2, SLOTS - 1])
_COLUMN_OF = np.array([*(column for _, column in _SINGLES), LOWER, LOWER])


@cache
def _lists() -> dict[str, int]:
    """Lower-case word -> bits of the lists it is in."""
    found: dict[str, int] = {}
    columns: Sequence[Sequence[str]] = (
        gazetteer.FIRST_NAMES,
        gazetteer.LAST_NAMES,
        gazetteer.CITIES,
        gazetteer.COUNTRIES,
        gazetteer.GROUPS,
        gazetteer.STREETS_BEFORE,
        gazetteer.STREETS_AFTER,
        (*gazetteer.COMPANY_ENDS, *gazetteer.FIRM_KINDS),
        gazetteer.JOBS,
        ("mr", "mrs", "ms", "miss", "dr", "prof", "sir", "madam", "herr", "frau", "mme"),
        ("apt", "suite", "box", "unit", "floor", "room", "flat", "psc", "apo", "fpo", "dpo", "p.o", "c/o"),
        "january february march april may june july august september october november december".split(),  # noqa: SIM905
        "monday tuesday wednesday thursday friday saturday sunday".split(),  # noqa: SIM905
        gazetteer.FIRMS,
        gazetteer.FIRM_WORDS,
    )
    for bit, words in enumerate(columns):
        for entry in words:
            for word in re.findall(r"[^\W\d_]+", entry.lower()):
                if len(word) > 1 and word not in ("of", "and", "de", "the"):
                    found[word] = found.get(word, 0) | 1 << bit
    return found


def is_people_or_country(word: str) -> bool:
    return bool(_lists().get(word.lower(), 0) & 0b11000)


def _kind(word: str) -> str:
    """What sort of token: the coarsest view, which carries over to names never seen."""
    if word[0] >= "\u0370" and word[0].isalpha():
        return ("x" if word.islower() else "XX" if word.isupper() else "Xx") + "~"  # not Latin script
    if word.isdecimal():
        return f"d{min(len(word), 6)}"
    if not word[0].isalpha():
        return word
    if word.islower():
        return "x"
    if len(word) == 1:
        return "X1"
    if word.isupper():
        return "XX" if len(word) < 5 else "XXX"
    if "-" in word:
        return "X-X"
    return "Xx" if word[1:].islower() else "xX"


def _shape(word: str) -> str:
    out = ""
    for character in word[:24]:
        mark = (
            "X"
            if character.isupper()
            else "x"
            if character.isalpha()
            else "d"
            if character.isdigit()
            else character
        )
        if out[-2:] != mark * 2:
            out += mark
    return out


def word_hashes(word: str, known: int) -> list[int]:
    """The COLUMNS hashes of a word, 64 bits each; `known` is what the model's word list says of it (0: nothing)."""
    lower = word.lower()
    if word.isdecimal():
        lower = "0" * len(word)
    street = any(lower.endswith(end) and len(lower) > len(end) + 1 for end in gazetteer.STREETS_JOINED)
    kind = _kind(word)
    values = (
        lower,
        _shape(word),
        lower[:2],
        lower[:3],
        lower[-2:],
        lower[-3:],
        lower[-4:],
        f"{_lists().get(lower, 0)}{street}",
        f"{known}{kind}",
        kind,
        word if not word.isdecimal() else lower,
    )
    return [xxhash.xxh64_intdigest(value.encode(), column) for column, value in enumerate(values)]


_ANCHOR_KINDS = np.array(
    [*(xxhash.xxh64_intdigest(kind.encode(), KIND) for kind in _ANCHORS), NOTHING], np.uint64
)


def padded(hashes: np.ndarray) -> np.ndarray:
    """REACH rows of NOTHING on both sides."""
    wide = np.full((len(hashes) + 2 * REACH, COLUMNS), NOTHING, np.uint64)
    wide[REACH : REACH + len(hashes)] = hashes
    return wide


def anchors(wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every token the rows of `wide` with the nearest anchor to its left and to its right: the words written
    small, line breaks, colons and quotes that stand around a name however long it is, or the end of the text."""
    is_anchor = (wide[:, KIND, None] == _ANCHOR_KINDS).any(axis=1)
    index = np.arange(len(wide))
    left = np.maximum.accumulate(np.where(is_anchor, index, 0))
    right = np.minimum.accumulate(np.where(is_anchor, index, len(wide) - 1)[::-1])[::-1]
    return left[REACH - 1 : -REACH - 1], right[REACH + 1 : len(wide) - REACH + 1]


def _chosen(mixed: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    mixed = mixed ^ numbers
    mixed *= _MIX
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX2
    mixed >>= np.uint64(64 - BITS)
    return mixed.view(np.int64)


def lone_rows(hashes: np.ndarray) -> np.ndarray:
    """[W, COLUMNS] -> [W, LONE] rows of the weight table that a word speaks for, wherever it stands: SLOT_OF says for
    which token."""
    return _chosen(hashes[:, _COLUMN_OF], _NUMBERS[:LONE])


def joint_rows(wide: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[FEATURES - LONE, T] rows of the features that need more than one word; arguments as of padded and anchors."""
    length = len(wide) - 2 * REACH
    columns = np.ascontiguousarray(wide.T)

    def at(place: tuple[int, int]) -> np.ndarray:
        start = REACH + place[0]
        return columns[place[1], start : start + length]

    mixed = np.empty((FEATURES - LONE, length), np.uint64)
    for number, (one, two) in enumerate(_PAIRS):
        np.add(at(one) * _MIX2, at(two), out=mixed[number])
    for number, (one, two, three) in enumerate(_TRIPLES, len(_PAIRS)):
        np.add((at(one) * _MIX2 + at(two)) * _MIX2, at(three), out=mixed[number])
    number = len(_PAIRS) + len(_TRIPLES)
    small = columns[LOWER]
    for held in (KNOWN, LISTS):
        for anchor in (left, right):
            np.add(small[anchor] * _MIX2, at((0, held)), out=mixed[number])
            number += 1
    return _chosen(mixed, _NUMBERS[LONE:, None])


def rows(hashes: np.ndarray) -> np.ndarray:
    """[T, COLUMNS] uint64 word hashes -> [T, FEATURES] rows of the weight table: the definition, used in training."""
    wide = padded(hashes)
    left, right = anchors(wide)
    lone = lone_rows(wide)
    own = np.arange(len(hashes)) + REACH
    at = np.concatenate((own[:, None] + np.arange(-REACH, REACH + 1), left[:, None], right[:, None]), axis=1)
    return np.concatenate((lone[at[:, SLOT_OF], np.arange(LONE)], joint_rows(wide, left, right).T), axis=1)
