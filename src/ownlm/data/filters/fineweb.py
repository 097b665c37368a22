"""FineWeb's own quality rules: Penedo et al. 2024, "The FineWeb Datasets", section 3.6 and appendix E.

The paper chose three of them by ablation; the fourth (newlines per word) and the threshold for short lines are from
the code that was published with it. Lines that are blank are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from ownlm.config import Settings
from ownlm.data.filters.measured import Count, Ratio, Share, over, under
from ownlm.data.filters.statistics import SHORT_LINE, Statistics, measure
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop


class FineWebQuality(Settings):
    """Drop lists, menus and pages of repeated lines. An option that is null switches its rule off."""

    min_terminal_lines: Share | None = 0.12
    """Share of the lines that end with a mark that ends sentences, of any script (section 3.6: remove at or below
    0.12; as in the published code, 0.12 itself is kept)."""
    max_short_lines: Share | None = 0.67
    """Share of the lines of at most `short_line` characters (section 3.6)."""
    short_line: Count = SHORT_LINE
    """Characters (section 3.6: lines shorter than 30; as in the published code, a line of 30 is short)."""
    max_duplicate_line_characters: Share | None = 0.01
    """Characters in lines that equal an earlier one, of all characters but newlines (published code; section 3.6 states
    0.1)."""
    max_newline_word_ratio: Ratio | None = 0.3
    """Newlines per word (published code, "list ratio")."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            reason = self.broken(measure(document.text, self.short_line))
            yield drop(document, reason) if reason else document

    def broken(self, it: Statistics) -> str:
        """The first rule that the numbers break; "" when there is none. `it` is measured with `short_line`."""
        if not it.lines:
            return "no lines: 0, at least 1"
        return (
            under("lines with final punctuation", it.terminal_lines, it.lines, self.min_terminal_lines)
            or over("short lines", it.short_lines, it.lines, self.max_short_lines)
            or over("duplicate line characters", it.duplicate_line_characters, it.characters - it.newlines,
                    self.max_duplicate_line_characters)
            or over("newlines per word", it.newlines, it.words, self.max_newline_word_ratio)
        )  # fmt: skip
