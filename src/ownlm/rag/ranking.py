"""The order of candidates: BM25 corrected by what it does not see.

    score = BM25 / best BM25
          + COVERAGE  * share of the question's information (inverse document frequency) that stands in the passage
          + TITLE     * share of it that stands in the title  * share of the title that stands in the question
          + NAMED     * the title, or its last part, is spelled out in the question (more for the whole title)
          + OPENING   * it is the first passage under its title (where things are defined)
          + DEFINES   * the question asks what something is, and the passage says "X is a"

The weights were chosen on questions from several kinds of text (documentation in Markdown and reStructuredText,
source code, novels), not on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import regex

from ownlm.rag.terms import STOP_WORDS, WEAK, WEAK_WORDS, forms, terms, words

COVERAGE = 1.0
TITLE = 0.6
NAMED = 0.5
OPENING = 0.15
COMMON = 0.1  # a term in more than this share of the passages is searched only when there are no rarer ones
_LONGEST_NAME = 6  # words of a name looked for in a question
_MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Weighed:
    """A content word of a question."""

    word: str
    whole: str  # the term that stands for all of it
    parts: tuple[str, ...]  # the terms of its parts, () for a plain word
    weight: float  # inverse document frequency of the whole, in nats


@dataclass(frozen=True, slots=True)
class Candidate:
    id: int
    bm25: float  # 0.0 when it was not found by BM25
    title: str  # terms, separated by blanks
    body: str
    part: int  # 0: the first passage under its title


def inverse_frequency(count: int, total: int) -> float:
    """Robertson's idf, kept positive: log(1 + (N - n + 0.5) / (n + 0.5))."""
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def weigh(word: str, frequency: Callable[[str], int], total: int) -> list[Weighed]:
    """A word with its weight. One that no passage has: its parts, if it was joined by hyphens; the word one typing
    slip away, if there is one; else itself, weighing most."""
    found = forms(word)
    count = frequency(found[0])
    if not count and "-" in word:
        return [weighed for part in word.split("-") if forms(part) for weighed in weigh(part, frequency, total)]
    if not count and len(found) == 1:
        meant = slip(word.lower(), frequency)
        if meant.lower() in STOP_WORDS:
            return []
        if meant:
            word, found, count = meant, forms(meant), frequency(forms(meant)[0])
    weight = inverse_frequency(count, total) * (WEAK if word.lower() in WEAK_WORDS else 1.0)
    return [Weighed(word, found[0], tuple(dict.fromkeys(found[1:])), weight)]


def slip(word: str, frequency: Callable[[str], int]) -> str:
    """The most frequent known word (or question word) one slip away: two letters swapped, one missing, one too many,
    one wrong, not the first; "" for short words and when there is none."""
    if len(word) < 5 or not word.isalpha() or not word.isascii():
        return ""
    letters = "abcdefghijklmnopqrstuvwxyz"
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)]
    shorter = [word[:i] + word[i + 1 :] for i in range(1, len(word))]
    for candidates in (swapped, shorter, [word[:i] + c + word[i + d :] for i in range(1, len(word) + 1) for c in letters for d in (0, 1)]):  # fmt: skip
        known = [(c in STOP_WORDS or c in WEAK_WORDS, frequency(forms(c)[0]), c) for c in candidates]
        best = max(known, default=(False, 0, ""))
        if best[0] or best[1]:
            return best[2]
    return ""


def query(weighed: Sequence[Weighed], frequency: Callable[[str], int], total: int) -> str:
    """An FTS5 query: known terms as quoted strings joined by OR, "" when none is known. No text of the user's can be
    syntax: every term stands in double quotes, and none contains one."""
    counts = {term: frequency(term) for word in weighed for term in (word.whole, *word.parts)}
    known = sorted((term for term, count in counts.items() if count), key=lambda term: (counts[term], term))
    rare = [term for term in known if counts[term] <= max(20, COMMON * total)]
    chosen = rare if len(rare) >= 2 else known[:3]
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in chosen)


def key(name: str) -> str:
    """A name for comparison: its words in lower case, one blank between."""
    return " ".join(word.lower() for word in words(name))


def title_names(title: str) -> list[str]:
    """What a question may call this title: all of it, its last part, the last two."""
    parts = title.split(" › ")
    found = [key(title), key(parts[-1])]
    dotted = parts[-1].split(".")
    if len(dotted) > 1 and " " not in parts[-1]:
        found += [key(dotted[-1]), key(".".join(dotted[-2:]))]
    return [name for name in dict.fromkeys(found) if name]


def names(question: str) -> list[str]:
    """Runs of up to six words that could be a title: not made of stop words alone."""
    every = [word.lower() for word in words(question)]
    found: dict[str, None] = {}
    for size in range(min(_LONGEST_NAME, len(every)), 0, -1):
        for first in range(len(every) - size + 1):
            run = every[first : first + size]
            if not all(word in STOP_WORDS for word in run):
                found[" ".join(run)] = None
    return list(found)[:_MOST_NAMES]


def rank(question: str, weighed: Sequence[Weighed], candidates: Sequence[Candidate]) -> list[tuple[int, float]]:
    """(id, score), best first; equal scores by id."""
    best = max((candidate.bm25 for candidate in candidates), default=0.0) or 1.0
    spelled = f" {key(question)} "
    asked = set(terms(question))
    scored = [(candidate.id, _score(candidate, weighed, best, spelled, asked)) for candidate in candidates]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def _score(candidate: Candidate, weighed: Sequence[Weighed], best: float, spelled: str, asked: set[str]) -> float:
    title, body = candidate.title.split(), candidate.body.split()
    in_title = covered(weighed, set(title))
    matched = in_title * sum(term in asked for term in title) / max(1, len(title))
    score = candidate.bm25 / best + COVERAGE * covered(weighed, {*title, *body}) + TITLE * math.sqrt(matched)
    return score + OPENING * (candidate.part == 0)


def covered(weighed: Sequence[Weighed], found: set[str]) -> float:
    """Share of the question's weight whose terms are among `found`, 0..1. Of a name that is not there as a whole,
    half the share of its parts that are."""
    total = sum(word.weight for word in weighed)
    return sum(word.weight * share(word, found) for word in weighed) / total if total else 0.0


def share(word: Weighed, found: set[str]) -> float:
    if word.whole in found:
        return 1.0
    return 0.5 * sum(part in found for part in word.parts) / len(word.parts) if word.parts else 0.0
