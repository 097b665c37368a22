"""Step `toxicity`: how toxic a document is, by a word list and, where the user has trained one, a linear model.

    score = 1 - (1 - words) * (1 - model)          words = 1 - exp(-hits per 100 words * strength)

The word list finds insults and obscenities, in any context: quotation and discussion as well. What is hateful without
one listed word only a model can find (`ownlm data train-quality --positive toxic`, on labelled texts of the user's; none
is shipped). Writes meta "toxicity_score". Dodge et al. 2021 show what word lists cost: they drop text by and about
minorities more often than other text. The default threshold therefore drops pages full of such words, not one word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import field_validator

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.data.linear import model as linear
from ownlm.errors import DataError
from ownlm.records import Document, Drop

DEFAULT_WORDS = Path(__file__).with_name("toxic_words.txt")
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST = 40  # letters; longer runs are no listed word, and CJK text is one run


class Toxicity(Settings):
    """Drops "toxic: 0.93"."""

    threshold: float = 0.5
    """Documents with this score or a higher one are dropped. Above 1.0 only writes the score."""
    words: Path | None = None
    """Own word list in any languages: one entry a line, * at the end for any ending, # for comments. Without it, a
    short English list that comes with ownlm."""
    model: Path | None = None
    """Linear model whose positive class is toxic text; without it the word list decides alone."""
    strength: float = 0.7
    """What one listed word in 100 adds: 0.7 makes the score 0.5 at 1 % of the words."""

    @field_validator("threshold", "strength")
    @classmethod
    def _positive(cls, value: float) -> float:
        if not 0.0 < value < float("inf"):
            raise ValueError("must be above 0")
        return value

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        path = self.words or DEFAULT_WORDS
        listed = word_list(path, path.stat().st_mtime_ns if path.exists() else 0)
        scorer = linear.load(self.model) if self.model else None
        for document in documents:
            clean = 1.0 - word_score(document.text, listed, self.strength)
            if scorer is not None:
                clean *= 1.0 - scorer.score(document.text)
            score = round(1.0 - clean, 4)
            if score >= self.threshold:
                yield drop(document, f"toxic: {score:.2f}")
            else:
                yield replace(document, meta={**document.meta, "toxicity_score": score})


Words = tuple[frozenset[str], tuple[str, ...]]
"""Whole words, and beginnings (entries with *)."""


@cache
def word_list(path: Path, changed: int) -> Words:
    """Raises DataError when the file cannot be read or has no entry. `changed` is its time, so edits are seen."""
    try:
        lines = path.read_text(encoding="utf-8").lower().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "The word list cannot be read.", f"{path}: {error}", "give a UTF-8 text file"
        ) from error
    entries = sorted({line.partition("#")[0].strip() for line in lines} - {""})
    wrong = [entry for entry in entries if not _WORD.fullmatch(entry.removesuffix("*"))]
    if wrong or not entries:
        what = "entries must be single words" if wrong else "no entries"
        raise DataError(
            "The word list cannot be used.", f"{path}: {what} {wrong[:5]}", "one word a line, * for endings"
        )
    beginnings = tuple(entry[:-1] for entry in entries if entry.endswith("*"))
    return frozenset(entry for entry in entries if not entry.endswith("*")), beginnings


def word_score(text: str, listed: Words, strength: float) -> float:
    """0.0 without listed words, towards 1.0 with many. Linear time: each distinct word is looked up once."""
    whole, beginnings = listed
    counts: dict[str, int] = {}
    for match in _WORD.finditer(text.lower()):
        word = match[0] if match.end() - match.start() <= _LONGEST else ""
        counts[word] = counts.get(word, 0) + 1
    hits = sum(count for word, count in counts.items() if word in whole or word.startswith(beginnings))
    return 1.0 - math.exp(-strength * 100 * hits / max(sum(counts.values()), 1))
