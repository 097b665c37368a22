"""The rules of C4 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning ...", section 2.2), as published with
TensorFlow Datasets. Lines are filtered, then the page is judged; white space decides what a word is here.

Two published versions differ: the code and the current paper keep lines of at least 5 words and pages of at least 3
sentences (the defaults here), the first paper and datatrove 3 words and 5 sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from ownlm.config import Settings
from ownlm.data.filters.characters import FOURFOLD, PAIRED, TERMINAL, flags, flags_of
from ownlm.data.filters.measured import Count
from ownlm.data.flow.step import Note, drop
from ownlm.errors import UsageError
from ownlm.records import Document, Drop

_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[\d*+\]|\[edit\]|\[citation needed\]")
# A run of marks that end sentences with the quotes behind it; looked for at the start of a run only: linear.
_SENTENCE = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]]*+(?=\s|$)|[。！？。।॥؟۔։።။។]++")
_WORDS = re.compile(r"\w+")
_ENDS = tuple(".?!\"'")


class C4(Settings):
    """Keep the lines that are sentences; drop pages with too few of them. Notes count the removed lines by rule."""

    require_terminal: bool = True
    """Keep only lines that end in . ! ? or a quotation mark (section 2.2: terminal punctuation), not in "..."; marks
    that end sentences in other scripts count too."""
    min_words_per_line: Count = 5
    """White-space separated words of a line that stays (section 2.2). A line in a script without spaces counts one for
    every two characters."""
    max_word_characters: Count | None = 1000
    """A line with a longer word goes (published code). Not for scripts without spaces."""
    min_sentences: Count = 3
    """Sentences in the lines that stayed (section 2.2)."""
    drop_lorem_ipsum: bool = True
    """Drop pages with "lorem ipsum" (section 2.2)."""
    drop_curly_brackets: bool = True
    """Drop pages with a curly bracket, as code (section 2.2)."""
    remove_javascript: bool = True
    """Remove lines with the word Javascript (section 2.2)."""
    remove_policies: bool = True
    """Remove lines that speak of cookies, privacy policies or terms of use (section 2.2)."""
    remove_citations: bool = True
    """Remove [1], [edit] and [citation needed] from lines (section 2.2)."""
    bad_words: Path | None = None
    """A file with one word or phrase per line; pages with one of them are dropped (section 2.2 uses the "List of Dirty,
    Naughty, Obscene or Otherwise Bad Words"). Whole words count, in any case; in scripts without spaces, any place."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        bad = None
        if self.bad_words is not None:
            bad = _bad_words(
                self.bad_words, self.bad_words.stat().st_mtime_ns if self.bad_words.exists() else 0
            )
        for document in documents:
            reason = self.broken(document.text) or (bad.found(document.text) if bad else "")
            if reason:
                yield drop(document, reason)
                continue
            removed: Counter[str] = Counter()
            text = "\n".join(self.lines(document.text, removed))
            sentences = sum(1 for _ in _SENTENCE.finditer(text))
            if sentences < self.min_sentences or not text:
                least = max(1, self.min_sentences)
                yield drop(
                    document, f"too few sentences: {sentences} in the lines that stay, at least {least}"
                )
                continue
            yield from (Note(change, count) for change, count in sorted(removed.items()))
            yield document if text == document.text else replace(document, text=text)

    def broken(self, text: str) -> str:
        """The rule that the whole page breaks; "" when there is none."""
        if self.drop_lorem_ipsum and (count := text.lower().count("lorem ipsum")):
            return f"lorem ipsum: {count} times, at most 0"
        if self.drop_curly_brackets and (count := text.count("{") + text.count("}")):
            return f"curly brackets: {count}, at most 0"
        return ""

    def lines(self, text: str, removed: Counter[str]) -> Iterator[str]:
        """The lines that stay, without white space around them; `removed` counts the others by rule."""
        for raw in text.split("\n"):
            line = raw.strip()
            if not line:
                continue
            if self.remove_citations and "[" in line:
                line, count = _CITATION.subn("", line)
                removed.update({"citation marks removed": count} if count else {})
            if rule := self._line_rule(line):
                removed[rule] += 1
            else:
                yield line

    def _line_rule(self, line: str) -> str:
        words = line.split()
        longest = max(map(len, words), default=0)
        if (
            self.max_word_characters is not None
            and longest > self.max_word_characters
            and not _unspaced(line)
        ):
            return "lines removed: word too long"
        if self.require_terminal and not _ends_sentence(line):
            return "lines removed: no terminal punctuation"
        if len(words) < self.min_words_per_line and _unspaced(line) // 2 < self.min_words_per_line:
            return "lines removed: too few words"
        lowered = line.lower()
        if self.remove_javascript and "javascript" in lowered:
            return "lines removed: javascript"
        if self.remove_policies and any(policy in lowered for policy in _POLICIES):
            return "lines removed: policy"
        return ""


def _unspaced(line: str) -> int:
    """Characters of scripts that are written without spaces."""
    return 0 if line.isascii() else int((flags_of(line) & (PAIRED | FOURFOLD) != 0).sum())


def _ends_sentence(line: str) -> bool:
    if line.endswith(_ENDS):
        return not line.endswith("...")
    last = line[-1:]
    return bool(last) and (last in "”’»」』" or bool(flags()[ord(last)] & TERMINAL))


class _BadWords:
    """Phrases of words by length, and phrases that are looked for anywhere."""

    def __init__(self, entries: list[str]) -> None:
        self.phrases: dict[int, set[tuple[str, ...]]] = {}
        self.anywhere: list[str] = []
        for entry in entries:
            words = tuple(_WORDS.findall(entry))
            if not words or (flags_of(entry) & (PAIRED | FOURFOLD)).any():
                self.anywhere.append(entry)
            else:
                self.phrases.setdefault(len(words), set()).add(words)

    def found(self, text: str) -> str:
        lowered = text.lower()
        words = _WORDS.findall(lowered)
        count = sum(entry in lowered for entry in self.anywhere)
        for size, phrases in self.phrases.items():
            grams = zip(*(words[start:] for start in range(size)), strict=False)  # ends with the shortest
            count += sum(gram in phrases for gram in grams)
        return f"bad words: {count}, at most 0" if count else ""


@cache
def _bad_words(path: Path, changed: int) -> _BadWords:
    """`changed` is the file's modification time: a new list is read again."""
    try:
        lines = path.read_text(encoding="utf-8").lower().split("\n")
    except (OSError, UnicodeError) as error:
        raise UsageError("The list of bad words cannot be read.", f"{path}: {error}",
                         "give a UTF-8 file with one word or phrase per line") from error  # fmt: skip
    entries = [line.strip() for line in lines if line.strip()]
    if not entries:
        raise UsageError("The list of bad words is empty.", str(path), "give one word or phrase per line")
    return _BadWords(entries)
