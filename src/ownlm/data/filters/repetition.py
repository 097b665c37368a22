"""Gopher's repetition rules: Rae et al. 2021, section A1.1, "Repetition Removal", thresholds of table A1.

All shares are of the characters of the whole text, as in the paper, but for the two that count lines and paragraphs.
"""

from __future__ import annotations

from collections.abc import Iterator

from ownlm.config import Settings
from ownlm.data.filters.measured import Share, over
from ownlm.data.filters.statistics import Statistics, measure
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop


class GopherRepetition(Settings):
    """Drop what repeats itself. An option that is null switches its rule off."""

    max_duplicate_lines: Share | None = 0.30
    """Lines that equal an earlier one, of all lines (table A1: duplicate line fraction)."""
    max_duplicate_paragraphs: Share | None = 0.30
    """Paragraphs that equal an earlier one, of all paragraphs (table A1: duplicate paragraph fraction)."""
    max_duplicate_line_characters: Share | None = 0.20
    """Characters in such lines (table A1: duplicate line character fraction)."""
    max_duplicate_paragraph_characters: Share | None = 0.20
    """Characters in such paragraphs (table A1: duplicate paragraph character fraction)."""
    max_top_grams: tuple[Share | None, Share | None, Share | None] = (0.20, 0.18, 0.16)
    """Characters in the most frequent run of 2, 3 and 4 words (table A1: top n-gram character fraction)."""
    max_duplicate_grams: tuple[
        Share | None, Share | None, Share | None, Share | None, Share | None, Share | None
    ] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    """Characters in runs of 5, 6, 7, 8, 9 and 10 words that occurred before (table A1: duplicate n-gram character
    fraction). Overlapping runs count once, as the paper asks."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            reason = self.broken(measure(document.text))
            yield drop(document, reason) if reason else document

    def broken(self, it: Statistics) -> str:
        """The first rule that the numbers break; "" when there is none."""
        reason = (
            over("duplicate paragraphs", it.duplicate_paragraphs, it.paragraphs, self.max_duplicate_paragraphs)
            or over("duplicate paragraph characters", it.duplicate_paragraph_characters, it.characters,
                    self.max_duplicate_paragraph_characters)
            or over("duplicate lines", it.duplicate_lines, it.lines, self.max_duplicate_lines)
            or over("duplicate line characters", it.duplicate_line_characters, it.characters,
                    self.max_duplicate_line_characters)
        )  # fmt: skip
        if reason:
            return reason
        top = (it.top_2, it.top_3, it.top_4)
        for size, characters, most in zip((2, 3, 4), top, self.max_top_grams, strict=True):
            if reason := over(f"top {size}-gram characters", characters, it.characters, most):
                return reason
        again = (
            it.duplicate_5,
            it.duplicate_6,
            it.duplicate_7,
            it.duplicate_8,
            it.duplicate_9,
            it.duplicate_10,
        )
        for size, characters, most in zip(range(5, 11), again, self.max_duplicate_grams, strict=True):
            if reason := over(f"duplicate {size}-gram characters", characters, it.characters, most):
                return reason
        return ""
