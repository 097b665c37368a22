"""Gopher's quality rules: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training
Gopher", section A1.1, "Quality Filtering". Words are those of words.py; empty lines are not counted as lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field

from ownlm.config import Settings
from ownlm.data.filters.measured import Count, Ratio, Share, over, under
from ownlm.data.filters.statistics import Statistics, distinct_words, measure
from ownlm.data.filters.stopwords import stop_words
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop


class GopherQuality(Settings):
    """Drop what does not look like running text. An option that is null switches its rule off."""

    min_words: Count | None = 50
    """Words with a letter or digit (section A1.1: between 50 and 100,000 words)."""
    max_words: Count | None = 100_000
    """Words with a letter or digit (section A1.1)."""
    min_mean_word_length: Ratio | None = 3.0
    """Characters per word with a letter or digit (section A1.1: mean word length outside of 3 to 10). Documents that
    are mostly in a script without spaces skip both rules of length, with a Note."""
    max_mean_word_length: Ratio | None = 10.0
    """Characters per word with a letter or digit (section A1.1)."""
    max_symbol_word_ratio: Ratio | None = 0.1
    """Hash signs per word and, separately, ellipses (... or …) per word (section A1.1: symbol-to-word ratio)."""
    max_bullet_lines: Share | None = 0.9
    """Share of the lines that begin with a bullet point (section A1.1)."""
    max_ellipsis_lines: Share | None = 0.3
    """Share of the lines that end with an ellipsis (section A1.1)."""
    min_alphabetic_words: Share | None = 0.8
    """Share of the words with at least one letter (section A1.1). Punctuation marks are words without."""
    min_stop_words: Count | None = 2
    """Different stop words that must occur (section A1.1: two of the, be, to, of, and, that, have, with). Documents in
    a language without a list skip the rule, with a Note."""
    stop_words: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Lists per language code in place of the built-in ones, e.g. {da: [og, det, er]}. Compared as written."""
    language: str = "en"
    """The language of documents without meta "language"."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            statistics = measure(document.text)
            reason = self.broken(statistics)
            if not reason:
                notes, reason = self._without_stop_words(document)
                if 2 * statistics.unspaced_words > statistics.words:
                    notes.append(Note("word length not judged: script without spaces"))
                yield from notes
            yield drop(document, reason) if reason else document

    def broken(self, it: Statistics) -> str:
        """The first rule that the numbers break, in the order of the paper; "" when there is none."""
        if self.min_words is not None and it.plain_words < self.min_words:
            return f"too few words: {it.plain_words}, at least {self.min_words}"
        if self.max_words is not None and it.plain_words > self.max_words:
            return f"too many words: {it.plain_words}, at most {self.max_words}"
        least, most = self.min_mean_word_length, self.max_mean_word_length
        if 2 * it.unspaced_words > it.words:
            least = most = None
        return (
            under("short words", it.plain_word_characters, it.plain_words, least)
            or over("long words", it.plain_word_characters, it.plain_words, most)
            or over("hash signs per word", it.hashes, it.words, self.max_symbol_word_ratio)
            or over("ellipses per word", it.ellipses, it.words, self.max_symbol_word_ratio)
            or over("bullet lines", it.bullet_lines, it.lines, self.max_bullet_lines)
            or over("ellipsis lines", it.ellipsis_lines, it.lines, self.max_ellipsis_lines)
            or under("alphabetic words", it.alphabetic_words, it.words, self.min_alphabetic_words)
        )

    def _without_stop_words(self, document: Document) -> tuple[list[Note], str]:
        if not self.min_stop_words:
            return [], ""
        named = document.meta.get("language")
        language = named if isinstance(named, str) and named else self.language
        wanted = self.stop_words.get(language) or stop_words(language)
        if not wanted:
            return [Note("stop words not judged: no list for the language")], ""
        found = distinct_words(document.text, wanted, self.min_stop_words)
        if found >= self.min_stop_words:
            return [], ""
        return [], f"too few stop words: {found} of {language}, at least {self.min_stop_words}"
