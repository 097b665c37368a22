"""Rules of size and of symbols: short documents, documents with few paragraphs, documents of symbols."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from ownlm.config import Settings
from ownlm.data.filters.measured import Count, Share, over
from ownlm.data.filters.statistics import measure
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop

_BLANK_LINES = re.compile(r"\n[^\S\n]*+\n\s*+")


class ShortDocuments(Settings):
    """Drop documents with too little text."""

    min_characters: Count = 300
    """Characters without the white space around the text (CCNet, Wenzek et al. 2020: its setting min_len)."""
    min_lines: Count = 0
    """Lines that are not blank; 0 switches the rule off."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            yield drop(document, reason) if (reason := self.broken(document.text)) else document

    def broken(self, text: str) -> str:
        size = len(text.strip())
        if size < self.min_characters:
            return f"too few characters: {size}, at least {self.min_characters}"
        lines = sum(1 for line in text.split("\n") if line.strip()) if self.min_lines else 0
        return f"too few lines: {lines}, at least {self.min_lines}" if lines < self.min_lines else ""


class Paragraphs(Settings):
    """Drop documents without enough paragraphs of running text."""

    min_paragraphs: Count = 3
    """Paragraphs of at least `min_characters` (mC4; Xue et al. 2021, section 3.1: three lines)."""
    min_characters: Count = 200
    """Characters of a paragraph that counts (mC4; Xue et al. 2021, section 3.1)."""
    unit: Literal["line", "block"] = "line"
    """What a paragraph is: a line, as in mC4, or what stands between blank lines, for texts with wrapped lines."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            yield drop(document, reason) if (reason := self.broken(document.text)) else document

    def broken(self, text: str) -> str:
        parts = text.split("\n") if self.unit == "line" else _BLANK_LINES.split(text)
        found = sum(1 for part in parts if len(part.strip()) >= max(1, self.min_characters))
        if found >= self.min_paragraphs:
            return ""
        return (
            f"too few paragraphs: {found} of {self.min_characters} characters, at least {self.min_paragraphs}"
        )


class Symbols(Settings):
    """Drop documents of symbols: dumps, line art, tables of signs."""

    max_symbols: Share = 0.4
    """Share of the characters that are not white space and neither letters, marks nor digits (ROOTS, Laurençon et al.
    2022, cuts English at a special character ratio of 0.4; it also counts digits and white space, we do not)."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            it = measure(document.text)
            symbols = it.solid_characters - it.alphanumeric_characters
            reason = over("symbols", symbols, it.solid_characters, self.max_symbols)
            yield drop(document, reason) if reason else document
