"""Tokens of a text and the hashed features that the name model sees of each.

A word is hashed once (its form, affixes, shape, lists it is in); the features of a place in the text are those hashes
of the word and its neighbours, mixed with the number of the feature in numpy, so a text costs few Python steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import xxhash

from ownlm.data.privacy import gazetteer

BITS = 17  # rows of the weight table: 2 ** BITS
TOKEN = re.compile(r"\n|[^\W\d_]+(?:[-'’](?=[A-ZÀ-Þ])[^\W\d_]+)*|\d+|['’]s\b|[^\w\s]|_")

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
REACH = 3  # tokens to each side that a feature looks at
NOTHING = 7  # stands for the hashes of a token outside of the text
COLUMNS = 11
_PLACES = {  # offsets and columns as arrays, for one gather per group
    name: (np.array([offset + REACH for offset, _ in group]), np.array([column for _, column in group]))
    for name, group in {
        "single": _SINGLES,
        **{f"pair{side}": [pair[side] for pair in _PAIRS] for side in range(2)},
        **{f"triple{side}": [triple[side] for triple in _TRIPLES] for side in range(3)},
    }.items()
}
FEATURES = len(_SINGLES) + len(_PAIRS) + len(_TRIPLES)
_NUMBERS = np.arange(1, FEATURES + 1, dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX2 = np.uint64(0xC2B2AE3D27D4EB4F)


def tokens(text: str) -> list[tuple[int, int]]:
    """Start and end of every token: words, digits, single signs, and line breaks, which say much in addresses."""
    return [match.span() for match in TOKEN.finditer(text)]


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
        gazetteer.COMPANY_ENDS,
        gazetteer.JOBS,
        ("mr", "mrs", "ms", "miss", "dr", "prof", "sir", "madam", "herr", "frau", "mme"),
        ("apt", "suite", "box", "unit", "floor", "room", "flat", "psc", "apo", "fpo", "dpo", "p.o", "c/o"),
        "january february march april may june july august september october november december".split(),  # noqa: SIM905
        "monday tuesday wednesday thursday friday saturday sunday".split(),  # noqa: SIM905
    )
    for bit, words in enumerate(columns):
        for entry in words:
            for word in re.findall(r"[^\W\d_]+", entry.lower()):
                if len(word) > 1 and word not in ("of", "and", "de", "the"):
                    found[word] = found.get(word, 0) | 1 << bit
    return found


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


@lru_cache(maxsize=1 << 16)
def word_hashes(word: str, known: int) -> bytes:
    """The COLUMNS hashes of a word, eight bytes each; `known` is what the model's word list says of it (0: nothing)."""
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
    digests = [xxhash.xxh64_intdigest(value.encode(), column) for column, value in enumerate(values)]
    return np.array(digests, "<u8").tobytes()


def rows(hashes: np.ndarray) -> np.ndarray:
    """[T, COLUMNS] uint64 word hashes -> [T, FEATURES] rows of the weight table."""
    padded = np.full((len(hashes) + 2 * REACH, COLUMNS), NOTHING, np.uint64)
    padded[REACH : REACH + len(hashes)] = hashes
    token = np.arange(len(hashes))[:, None]

    def gathered(name: str) -> np.ndarray:
        offsets, columns = _PLACES[name]
        found: np.ndarray = padded[token + offsets, columns]
        return found

    pairs = gathered("pair0") * _MIX2 + gathered("pair1")
    triples = (gathered("triple0") * _MIX2 + gathered("triple1")) * _MIX2 + gathered("triple2")
    mixed = (np.concatenate((gathered("single"), pairs, triples), axis=1) ^ _NUMBERS) * _MIX
    chosen: np.ndarray = ((mixed ^ (mixed >> np.uint64(29))) * _MIX2 >> np.uint64(64 - BITS)).astype(np.int64)
    return chosen
