"""The minimal rules that a document must pass; each has a name, a threshold and a source.

They remove what is no text at all (dumps, minified code, tables of one repeated line), not what is badly written.
Later rules may be stricter; these must not lose a normal file, in any language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class BasicQuality(Settings):
    """Drop what is no text at all: dumps, minified code, one line over and over."""

    min_bytes: Annotated[int, Field(ge=0)] = 50
    """UTF-8 bytes of what is not white space; fewer are too short. Bytes, because one Chinese character says more than
    one Latin letter."""
    min_letter_share: _Share = 0.25
    """Letters, digits and marks among non-space characters. Gopher (Rae et al. 2021, section A1.1) asks for words with
    a letter in 80 %; source code and tables need more room, line art and dumps of symbols stay below 0.25."""
    max_same_line_share: _Share = 0.3
    """Share of the lines that are one and the same line (Gopher, table A1: 0.30); counts with the next one only, since
    short lines such as `---` or `}` repeat in good text."""
    max_same_line_characters: _Share = 0.2
    """Share of the characters in those lines (Gopher, table A1: 0.20); both must be passed."""
    max_blob_share: _Share = 0.5
    """Share of the characters in unbroken ASCII tokens of 200 characters or more: base64, minified code. StarCoder (Li
    et al. 2023) cuts files with a line over 1,000 characters; counting tokens keeps prose with one paragraph per line."""
    max_replaced_share: _Share = 0.02
    """Share of U+FFFD: the charset was not found."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            try:
                reason = reason_to_drop(document.text, self)
            except UnicodeEncodeError:  # lone surrogates; `clean` replaces them
                reason = reason_to_drop(_SURROGATES.sub("\ufffd", document.text), self)
            yield drop(document, reason) if reason else document


_SURROGATES = re.compile("[\ud800-\udfff]")
_BLOB = re.compile(r"[!-~]{200,}")
_PUNCTUATION = bytes(code for code in range(33, 127) if not chr(code).isalnum())
_SAMPLE = 1 << 18  # characters that the rules look at: a longer document is judged by head, middle and tail
# Per code point below 65,536: 1 white space, 2 symbol (Latin-1 signs, arrows, box drawing, private use, U+FFFD), else 0.
_CLASSES = np.zeros(1 << 16, dtype=np.uint8)
_CLASSES[[code for code in range(1 << 16) if chr(code).isspace()]] = 1
for _first, _last in ((0xA1, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF), (0x2010, 0x2027), (0x2030, 0x205E),
                      (0x2190, 0x2BFF), (0xE000, 0xF8FF), (0xFFFD, 0xFFFD)):  # fmt: skip
    _CLASSES[_first : _last + 1] = 2


def reason_to_drop(text: str, rules: BasicQuality) -> str:
    """The first rule that the text breaks with its measured value, or "" when it passes."""
    sample = text if len(text) <= _SAMPLE else _spread(text)
    data = sample.encode("utf-8").translate(None, b" \t\n\r\x0b\x0c")
    if len(data) < rules.min_bytes:
        return f"too short: {len(data)} bytes"
    if sample.count("\ufffd") > rules.max_replaced_share * len(sample):
        return "undecodable: too many replaced characters"
    solid, symbols = len(data), len(data) - len(data.translate(None, _PUNCTUATION))
    if not sample.isascii():
        codes = np.frombuffer(sample.encode("utf-32-le"), dtype="<u4")
        white, other = np.bincount(_CLASSES[np.minimum(codes, 0xFFFF)], minlength=3)[1:].tolist()
        solid, symbols = len(codes) - white, symbols + other
    if solid - symbols < rules.min_letter_share * solid:
        return f"mostly symbols: {(solid - symbols) / max(solid, 1):.0%} letters and digits"
    blob = sum(map(len, _BLOB.findall(sample))) if max(map(len, sample.split()), default=0) >= 200 else 0
    if blob > rules.max_blob_share * len(sample):
        return f"encoded or minified: {blob / len(sample):.0%} in tokens of 200 characters or more"
    lines, characters = _same_line_shares(sample)
    if lines > rules.max_same_line_share and characters > rules.max_same_line_characters:
        return f"one line repeated: {lines:.0%} of the lines"
    return ""


def _spread(text: str) -> str:
    third = _SAMPLE // 3
    middle = len(text) // 2
    return "\n".join((text[:third], text[middle : middle + third], text[-third:]))


def _same_line_shares(text: str) -> tuple[float, float]:
    """The most frequent non-blank line as a share of the lines and of their characters; 0.0 below 10 lines."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if len(lines) < 10:
        return 0.0, 0.0
    line, count = Counter(lines).most_common(1)[0]
    return count / len(lines), count * len(line) / sum(map(len, lines))
