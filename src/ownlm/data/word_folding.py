"""The words of a text in one spelling, for comparing texts; and where in the text they stand.

Folded away, all by single character so that places stay exact: case; compatibility forms (NFKD: full width,
ligatures' first letter ...); accents; apostrophes and invisible characters inside a word. Everything that is no
letter and no digit separates words. In scripts written without spaces (Han, kana, Thai, Lao, Khmer, Burmese) every
character is a word.
"""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = "'\u2019\u02bc\u2018\u00ad"
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x30FF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip
_OTHER = re.compile(r"[^\x00-\x7f]+")


class _Folding(dict[int, str | None]):
    """What str.translate puts for a character: None drops it. Filled as characters appear: at most one entry each."""

    def __missing__(self, code: int) -> str | None:
        self[code] = folded = _folded(chr(code))
        return folded


_FOLDING = _Folding()


def is_unspaced(word: str) -> bool:
    return len(word) == 1 and any(low <= ord(word) <= high for low, high in _UNSPACED)


def _folded(character: str) -> str | None:
    if character in _APOSTROPHES:
        return None
    category = unicodedata.category(character)
    mark = category in ("Mn", "Me", "Mc", "Cf")
    even = character if mark else unicodedata.normalize("NFKD", character)[0].lower()[0]
    if is_unspaced(even) and (mark or even.isalnum()):
        return f" {even} "
    if mark:
        return None
    return even if even.isalnum() else " "


def fold(text: str) -> list[str]:
    """The folded words, in order. Linear time."""
    if not text.isascii():
        text = _OTHER.sub(lambda found: found.group().translate(_FOLDING), text)
    return text.translate(_FOLDING).split()


def places(text: str) -> list[tuple[int, int]]:
    """Start and end (characters of `text`) of every word of fold(text). Ten times slower: for texts with a finding."""
    found: list[tuple[int, int]] = []
    start = end = -1
    for at, character in enumerate(text):
        folded = _FOLDING[ord(character)]
        if folded is None:
            continue
        if start >= 0 and folded[0] == " ":
            found.append((start, end))
            start = -1
        if len(folded) == 3:
            found.append((at, at + 1))
        elif folded != " ":
            start = at if start < 0 else start
            end = at + 1
    if start >= 0:
        found.append((start, end))
    return found
