"""Text -> pieces: the split patterns of the known tokenizer families, which BPE never merges across.

The patterns are those that Hugging Face `tokenizers` and llama.cpp know these families by, so that a vocabulary
trained here loads there under a name they know. Character classes are pinned to Unicode 16 (`unicode16.txt`):
the same text gives the same ids whatever Unicode version the installed `regex` follows.

`split` is the readable reference; the compiled kernel (native/split.hpp) is held against it piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

import numpy as np
import regex

from ownlm.errors import UsageError

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PUNCTUATION_AND_SPACE = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4 = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _PUNCTUATION_AND_SPACE
_HEAD = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_TAIL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

PATTERNS: dict[str, str] = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _GPT4,
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_HEAD}*{_TAIL}+{_CONTRACTION}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_HEAD}+{_TAIL}*{_CONTRACTION}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama3": _GPT4,  # the same pattern as cl100k; llama.cpp keeps two names
    "qwen2": _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _PUNCTUATION_AND_SPACE,
}
"""Family name -> pattern. Every character of a text falls into exactly one piece."""

# Letters of unicode16.txt -> class codes that the kernel shares (native/split.hpp).
CLASS_CODES = {"O": 0, "U": 1, "L": 2, "B": 3, "M": 4, "N": 5, "S": 6, "R": 7}
_CLASS_PATTERNS = {
    "U": r"[\p{Lu}\p{Lt}]", "L": r"\p{Ll}", "B": r"[\p{Lm}\p{Lo}]", "M": r"\p{M}", "N": r"\p{N}", "S": r"\s", "R": r"[\r\n]",
}  # fmt: skip
_STAND_INS = {"O": "•", "U": "À", "L": "à", "B": "ª", "M": "\u0301", "N": "²", "S": "\u2003"}


def require_family(family: str) -> str:
    """The name itself; raises UsageError when no such family is known."""
    if family not in PATTERNS:
        raise UsageError(
            "This pre-tokenizer family is not known.",
            f"family = {family!r}",
            f"use one of {', '.join(PATTERNS)}",
        )
    return family


def family_of(pattern: str) -> str | None:
    """The family with exactly this pattern (cl100k and llama3 share one: llama3 is returned), or None."""
    return next((name for name in ("llama3", *PATTERNS) if PATTERNS[name] == pattern), None)


@cache
def class_table() -> np.ndarray:
    """uint8 [0x110000]: the class code of every code point in Unicode 16 (surrogates count as other)."""
    runs = (resources.files("ownlm.tokenizer") / "unicode16.txt").read_text(encoding="ascii").split()
    codes = np.array([CLASS_CODES[run[0]] for run in runs], dtype=np.uint8)
    table = np.repeat(codes, [int(run[1:] or 1) for run in runs])
    table.setflags(write=False)
    return table


@cache
def stand_ins() -> tuple[frozenset[str], dict[int, str]]:
    """Characters that the installed `regex` classes differently from Unicode 16 -> one of the pinned class."""
    everything = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    installed = np.zeros(0x110000, dtype=np.uint8)
    for letter, pattern in _CLASS_PATTERNS.items():
        for found in regex.finditer(pattern + "+", everything):
            first, last = ord(found[0][0]), ord(found[0][-1])
            installed[first : last + 1] = CLASS_CODES[letter]
    installed[0xD800:0xE000] = 0  # a run around the surrogates; they never occur in text that is encoded
    letters = {code: letter for letter, code in CLASS_CODES.items()}
    pinned = class_table()
    different = {int(c): _STAND_INS[letters[int(pinned[c])]] for c in np.flatnonzero(installed != pinned)}
    return frozenset(map(chr, different)), different


@cache
def _compiled(family: str) -> regex.Pattern[str]:
    return regex.compile(PATTERNS[require_family(family)])


def split(text: str, family: str) -> Iterator[str]:
    """The pieces of a text, in order; joined they are the text. Raises UsageError for an unknown family."""
    pattern = _compiled(family)
    if not text.isascii():
        different, table = stand_ins()
        if not different.isdisjoint(text):
            replaced = text.translate(table)  # one character for one: offsets stay
            return (text[found.start() : found.end()] for found in pattern.finditer(replaced))
    return (found[0] for found in pattern.finditer(text))
