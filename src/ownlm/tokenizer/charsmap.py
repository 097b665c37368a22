"""SentencePiece's compiled normalisation rules (`precompiled_charsmap`): replacements of character sequences.

The blob is: uint32 size of a trie in bytes | the trie, a double array (Aoe 1989, in the form of Darts-clone) of uint32
units | replacement strings, each ended by a zero byte; a key's value is the offset of its replacement. All keys are read
out once, with every index checked, into a dictionary.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import regex

from ownlm.errors import ArtifactError
from ownlm.tokenizer.fields import FIX

_LONGEST_KEY = 256  # bytes; the longest of the public rules has 18
_MOST_NODES = (
    1 << 19
)  # equal endings share units, so there may be more nodes than units; nmt_nfkc_cf has 10^5
_ROWS = 1 << 12  # open nodes looked at in one vector operation: bounds the memory


class Charsmap:
    """Replacements, applied in the two ways that exist: `longest` (sentencepiece) and `by_grapheme` (`tokenizers`)."""

    def __init__(self, blob: bytes, where: str) -> None:
        """Raises ArtifactError naming `where` for a blob that is cut, loops or points outside itself."""
        self.blob = blob
        self.rules = _read(blob, where) if blob else {}
        self._longest: dict[str, int] = {}  # first character -> length of the longest key that begins with it
        self._seconds: dict[str, set[str]] = {}  # first character -> the second ones of keys
        for key in self.rules:
            self._longest[key[0]] = max(self._longest.get(key[0], 0), len(key))
            if len(key) > 1:
                self._seconds.setdefault(key[0], set()).add(key[1])

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Two bool [code points]: characters that are keys, and characters that come second in a longer key."""
        tables = np.zeros((2, 0x110000), dtype=bool)
        tables[0, [ord(key) for key in self.rules if len(key) == 1]] = True
        tables[1, [ord(letter) for letters in self._seconds.values() for letter in letters]] = True
        return tables[0], tables[1]

    def candidates(self, text: str) -> list[int]:
        """The places where a key might begin, in order; elsewhere nothing is replaced."""
        if self._longest.keys().isdisjoint(text):
            return []
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        single, second = self._tables
        might = single[codes]
        might[:-1] |= second[codes[1:]]
        found: list[int] = np.flatnonzero(might).tolist()
        return found

    def longest_at(self, text: str, at: int) -> int:
        """Length of the longest key at this position; 0 when there is none."""
        longest = self._longest.get(text[at], 0)
        if longest > 1 and text[at + 1 : at + 2] not in self._seconds[text[at]]:
            longest = 1  # the usual case: a letter that an accent might follow, and none does
        for length in range(min(longest, len(text) - at), 0, -1):
            if text[at : at + length] in self.rules:
                return length
        return 0

    def by_grapheme(self, text: str) -> str:
        """As `tokenizers` does: a grapheme of less than 6 bytes by the shortest key that begins it, otherwise its
        characters one by one. (Shortest, and the rest of the grapheme is lost: that is what `tokenizers` computes.)"""
        if self._longest.keys().isdisjoint(text):
            return text
        parts = []
        for grapheme in regex.findall(r"\X", text):
            if grapheme[0] in self._longest and len(grapheme.encode("utf-8")) < 6:
                replaced = self._shortest(grapheme)
                if replaced is not None:
                    parts.append(replaced)
                    continue
            parts.extend(self.rules.get(character, character) for character in grapheme)
        return "".join(parts)

    def _shortest(self, grapheme: str) -> str | None:
        for length in range(1, len(grapheme) + 1):
            found = self.rules.get(grapheme[:length])
            if found is not None:
                return found
        return None


def _wrong(where: str, values: str) -> ArtifactError:
    return ArtifactError("The normalisation rules are damaged.", f"{where}: {values}", FIX)


def _read(blob: bytes, where: str) -> dict[str, str]:
    size = int.from_bytes(blob[:4], "little")
    if len(blob) < 8 or size % 4 or not 4 <= size <= len(blob) - 4:
        raise _wrong(where, f"a trie of {size} bytes in a blob of {len(blob)}")
    units = np.frombuffer(blob, dtype="<u4", count=size // 4, offset=4).astype(np.int64)
    strings = blob[4 + size :]
    rules = {}
    for key, offset in _keys(units, where):
        end = strings.find(b"\0", offset)
        if offset > len(strings) or end < 0:
            raise _wrong(where, f"the replacement at {offset} is not in {len(strings)} bytes of strings")
        try:
            rules[key.decode("utf-8")] = strings[offset:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(where, f"the rule for {key!r} is not UTF-8") from error
    return rules


def _offsets(units: np.ndarray) -> np.ndarray:
    """int64 [n]: what each unit's position is XORed with to get to its children."""
    return (units >> 10) << ((units & (1 << 9)) >> 6)


def _children(
    units: np.ndarray, bases: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row of the open node, column of the label, unit) of each child."""
    at = bases[:, None] ^ labels[None, :]  # [nodes, 255]
    inside = at < len(units)
    unit = units[np.where(inside, at, 0)]
    rows, columns = np.nonzero(inside & ((unit & 0x800000FF) == labels[None, :]))
    return rows, columns, at[rows, columns]


def _keys(units: np.ndarray, where: str) -> list[tuple[bytes, int]]:
    """All (key, value) of a double array, breadth first; a loop shows as a key that gets too long or too many nodes."""
    labels = np.arange(1, 256, dtype=np.int64)
    bases = np.array([0], dtype=np.int64) ^ _offsets(units[:1])  # where the children of each open node lie
    prefixes = [b""]
    found: list[tuple[bytes, int]] = []
    seen = 0
    for _ in range(_LONGEST_KEY):
        if not prefixes:
            return found
        parts = [_children(units, bases[low : low + _ROWS], labels) for low in range(0, len(bases), _ROWS)]
        rows = np.concatenate([part[0] + n * _ROWS for n, part in enumerate(parts)])
        columns, nodes = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
        seen += len(rows)
        if seen > _MOST_NODES:
            raise _wrong(where, f"more than {_MOST_NODES} nodes in a trie of {len(units)} units: it loops")
        bases = nodes ^ _offsets(units[nodes])
        prefixes = [
            prefixes[row] + bytes([column + 1])
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        for leaf in np.flatnonzero((units[nodes] >> 8) & 1).tolist():
            if bases[leaf] >= len(units):
                raise _wrong(where, f"the value of {prefixes[leaf]!r} is outside the trie")
            found.append((prefixes[leaf], int(units[bases[leaf]] & 0x7FFFFFFF)))
    raise _wrong(where, f"a key of more than {_LONGEST_KEY} bytes")
