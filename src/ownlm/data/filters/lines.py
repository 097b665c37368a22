"""Line by line removal of what web pages leave around their text: RefinedWeb's line-wise corrections (Penedo et al.
2023, "The RefinedWeb Dataset for Falcon LLM", appendix G.2), for text whose lines are paragraphs.

The paper gives the rules in words only (mainly upper-case characters, only numerical characters, a counter such as
"3 likes", one word, short lines with "sign-in", "read more", "items in cart"); the patterns are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ownlm.config import Settings
from ownlm.data.filters.characters import DIGIT, FOURFOLD, LETTER, PAIRED, UPPER, flags_of
from ownlm.data.filters.measured import Count, Share
from ownlm.data.flow.step import Note, drop
from ownlm.records import Document, Drop

_COUNTER = re.compile(
    r"[\d.,]{1,12}[km+]? (?:likes?|shares?|comments?|views?|followers?|following|retweets?|repl(?:y|ies)|reviews?|votes?"
    r"|downloads?|subscribers?|posts?|answers?|reads?|min read|reactions?|points?|results?|items?)[.:]?"
)
_STARTS = ("sign in", "sign-in", "sign up", "log in", "login", "skip to", "jump to", "share this", "share on",
           "follow us", "click here", "subscribe", "back to top", "copyright", "©", "posted by", "powered by",
           "print this", "leave a comment", "add to cart", "filed under", "previous post", "next post")  # fmt: skip
_ENDS = ("read more", "read more...", "read more…", "read more »", "learn more", "see all", "view all", "show more",
         "load more", "sign up", "sign in", "log in", "reply", "share", "all rights reserved",
         "all rights reserved.")  # fmt: skip
_INSIDE = ("items in cart", "items in your cart", "accept cookies", "cookie settings", "enable javascript",
           "forgot password", "forgot your password", "terms of service", "privacy policy")  # fmt: skip


class LineFilter(Settings):
    """Remove lines of boilerplate; drop documents that are mostly such lines. Notes count removed lines by rule."""

    max_uppercase: Share | None = 0.5
    """Upper-case letters among the letters of a line that stays (appendix G.2: mainly composed of upper-case
    characters). Lines of one or two letters are left to the other rules. null: off."""
    remove_numeric: bool = True
    """Remove lines without a letter but with a digit (appendix G.2: only numerical characters)."""
    remove_counters: bool = True
    """Remove counters such as "3 likes" (appendix G.2)."""
    remove_single_words: bool = True
    """Remove lines of one word that does not end like a sentence (appendix G.2: only one word). Not in scripts without
    spaces."""
    phrases: tuple[str, ...] = ()
    """Further phrases: a short line with one of them goes. In lower case."""
    remove_boilerplate: bool = True
    """Remove short lines that begin or end with, or contain, a phrase of menus (appendix G.2)."""
    max_phrase_words: Count = 10
    """Words of a line that is short enough for the phrases (appendix G.2: at most 10)."""
    min_words_per_line: Count = 0
    """Remove lines with fewer words; 0: off."""
    max_removed_words: Share | None = 0.05
    """Share of the words of a document in removed lines; above it the document is dropped (appendix G.2: 5 %). null
    keeps whatever is left."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            removed: Counter[str] = Counter()
            kept, all_words, removed_words = self._split(document.text, removed)
            share = removed_words / all_words if all_words else 0.0
            if self.max_removed_words is not None and share > self.max_removed_words:
                reason = f"words in removed lines: {share:.4g}, at most {self.max_removed_words:g}"
                yield drop(document, reason)
            elif removed and not any(line.strip() for line in kept):
                yield drop(document, f"no lines left: {sum(removed.values())} removed")
            else:
                yield from (Note(f"lines removed: {rule}", count) for rule, count in sorted(removed.items()))
                yield replace(document, text="\n".join(kept)) if removed else document

    def _split(self, text: str, removed: Counter[str]) -> tuple[list[str], int, int]:
        """The lines that stay, and how many words there were and how many went."""
        kept: list[str] = []
        all_words = removed_words = 0
        lines = text.split("\n")
        for line, (letters, capitals, digits, unspaced) in zip(lines, _kinds(text, lines), strict=True):
            num_words = max(len(line.split()), unspaced // 2)
            all_words += num_words
            rule = self._rule(line.strip(), letters, capitals, digits, num_words) if num_words else ""
            if rule:
                removed[rule] += 1
                removed_words += num_words
            else:
                kept.append(line)
        return kept, all_words, removed_words

    def _rule(self, line: str, letters: int, capitals: int, digits: int, num_words: int) -> str:
        """The rule by which a line goes, "" when it stays; the numbers count its characters and words."""
        if self.remove_numeric and digits and not letters:
            return "numeric"
        if self.max_uppercase is not None and letters > 2 and capitals / letters > self.max_uppercase:
            return "upper case"
        lowered = line.lower() if num_words <= self.max_phrase_words else ""
        if self.remove_counters and lowered and _COUNTER.fullmatch(lowered):
            return "counter"
        if lowered and self._is_boilerplate(lowered):
            return "boilerplate"
        if self.remove_single_words and num_words == 1 and letters and not line.endswith(tuple('.!?"”')):
            return "single word"
        return "too few words" if num_words < self.min_words_per_line else ""

    def _is_boilerplate(self, lowered: str) -> bool:
        if any(phrase in lowered for phrase in self.phrases):
            return True
        return self.remove_boilerplate and (
            lowered.startswith(_STARTS) or lowered.endswith(_ENDS) or any(part in lowered for part in _INSIDE)
        )


def _kinds(text: str, lines: list[str]) -> Iterator[tuple[int, ...]]:
    """Letters, capitals, digits and characters of scripts without spaces of every line, counted for all at once."""
    marks = np.append(flags_of(text), np.uint16(0))  # so that an empty last line has a place
    sizes = np.fromiter(map(len, lines), dtype=np.int64, count=len(lines)) + 1
    starts = np.cumsum(sizes) - sizes
    kinds = (LETTER, UPPER, DIGIT, PAIRED | FOURFOLD)
    counts = [np.add.reduceat(marks & kind != 0, starts, dtype=np.int64).tolist() for kind in kinds]
    return zip(*counts, strict=True)
