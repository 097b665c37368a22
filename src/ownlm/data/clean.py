"""Repairs that do not change what a text says; each is counted in the funnel.

Double-encoded UTF-8, NUL and control characters, terminal escapes, line ends, lone surrogates, Unicode NFC.
What is not certain is left alone: a text is undone from Windows-1252 only when all of it decodes as UTF-8 then.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|[@-Z\\^_])")
_OVERSTRIKE = re.compile(r"[^\n\b]\x08")  # man pages print bold as x BACKSPACE x
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")

_CP1252_HIGH = bytes(code for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)).decode(
    "cp1252"
)
_AS_BYTES = {ord(char): bytes([code]) for code in range(0x80, 0xA0)
             for char in bytes([code]).decode("cp1252", "ignore")}  # fmt: skip
_ASCII_CONTROLS = bytes(code for code in range(128) if (code < 32 or code == 127) and code not in (9, 10))
_IS_CONTROL = np.zeros(0x10001, dtype=bool)  # the last entry stands for everything above
_IS_CONTROL[
    [*_ASCII_CONTROLS, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000), 0xFEFF, 0xFFFE, 0xFFFF]
] = True
# A lead byte of UTF-8 and a continuation byte, both seen through Windows-1252 or Latin-1.
_MOJIBAKE = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{re.escape(_CP1252_HIGH)}]")


EMPTY = "empty after repair"


class Clean(Settings):
    """Repair broken characters without changing what the text says; documents with nothing left are dropped."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            text, changes = repair(document.text)
            yield from (Note(change, count) for change, count in (_reading(document) | changes).items())
            if not text.strip():
                yield drop(document, EMPTY)
            else:
                yield document if text is document.text else replace(document, text=text)


def _reading(document: Document) -> dict[str, int]:
    """What reading the file already repaired, as it left it in the meta data."""
    changes: dict[str, int] = {}
    encoding, replaced = document.meta.get("encoding"), document.meta.get("num_replaced")
    if isinstance(encoding, str):
        changes[f"decoded from {encoding[:20]}"] = 1
    if isinstance(replaced, int):
        changes["undecodable places replaced"] = replaced
    return changes


def repair(text: str) -> tuple[str, dict[str, int]]:
    """The repaired text and how often each change was made. Linear in the length; the same object if unchanged."""
    changes: dict[str, int] = {}
    text = _undo_mojibake(text, changes)
    if _has_control(text):
        if "\x1b" in text:
            text = _counted(_ESCAPES, "", text, changes, "terminal escapes removed")
        if "\b" in text:
            text = _counted(_OVERSTRIKE, "", text, changes, "overstrikes removed")
        text = _counted(_LINE_ENDS, "\n", text, changes, "line ends changed")
        text = _counted(_SURROGATES, "\ufffd", text, changes, "lone surrogates replaced")
        text = _counted(_CONTROLS, "", text, changes, "control characters removed")
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        changes["documents normalized to NFC"] = 1
    return text, changes


def _has_control(text: str) -> bool:
    """Whether any character is one that the patterns above change; several times faster than they are."""
    if text.isascii():
        data = text.encode("ascii")
        return len(data.translate(None, _ASCII_CONTROLS)) != len(data)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return bool(_IS_CONTROL[np.minimum(codes, 0x10000)].any())


def _counted(pattern: re.Pattern[str], new: str, text: str, changes: dict[str, int], name: str) -> str:
    changed, count = pattern.subn(new, text)
    if not count:
        return text
    changes[name] = changes.get(name, 0) + count
    return changed


def _undo_mojibake(text: str, changes: dict[str, int]) -> str:
    """Undo "UTF-8 read as Windows-1252", at most twice.

    Certain means: every non-ASCII character of the text takes part in a valid UTF-8 sequence, and there are at
    least two sequences or one of three bytes. Text that merely mentions "Ã©" once, or that also holds a real "é",
    is left as it is.
    """
    for _ in range(2):
        found = [] if text.isascii() else _MOJIBAKE.findall(text)
        if not found or (len(found) < 2 and "\u00e2" not in found[0]):
            return text
        try:
            repaired = _to_bytes(text).decode("utf-8")
        except UnicodeError:
            return text
        text = repaired
        changes["documents double-encoded, undone"] = 1
    return text


def _to_bytes(text: str) -> bytes:
    """The bytes that Windows-1252 (or Latin-1 where that has no character) would have shown as this text."""
    return text.translate(_LATIN).encode("latin-1")


_LATIN = {code: char.decode("latin-1") for code, char in _AS_BYTES.items()}
