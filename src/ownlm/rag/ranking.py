"""The order of candidates: BM25 corrected by what it does not see.

    score = BM25 / best BM25
          + COVERAGE  * share of the question's information (inverse document frequency) that stands in the passage
          + TITLE     * share of it that stands in the title  * share of the title that stands in the question
          + NAMED     * share of it in the title's name (all of it or its last part) where that is spelled out
          + OPENING   * it is the first passage under its title (where things are defined)

The weights were chosen on questions from several kinds of text (documentation in Markdown and reStructuredText,
source code, novels), not on one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ownlm.rag.terms import STOP_WORDS, WEAK, WEAK_WORDS, forms, terms, words

COVERAGE = 1.5
TITLE = 1.0
NAMED = 1.0
OPENING = 0.4
SLIP = 0.6  # of a word's share, when it is found only one typing slip away
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
    credit: float = 1.0  # of finding it; less for a word that was taken for a typing slip


@dataclass(frozen=True, slots=True)
class Candidate:
    id: int
    bm25: float  # 0.0 when it was not found by BM25
    title: str  # terms, separated by blanks
    body: str
    name: str  # the title as written
    part: int  # 0: the first passage under its title


def inverse_frequency(count: int, total: int) -> float:
    """Robertson's idf, kept positive: log(1 + (N - n + 0.5) / (n + 0.5))."""
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


class Vocabulary(Protocol):
    """What an index knows about terms."""

    num_passages: int

    def frequency(self, term: str) -> int:
        """In how many passages a term occurs."""
        ...

    def beginning(self, prefix: str) -> list[tuple[str, int]]:
        """(term, frequency) of the terms that begin so."""
        ...


def weigh(word: str, known: Vocabulary) -> list[Weighed]:
    """A word with its weight. One that no passage has: its parts, if it was joined by hyphens; the word one typing
    slip away, if there is one; else itself, weighing most."""
    found = forms(word)
    count = known.frequency(found[0])
    if not count and "-" in word:
        return [weighed for part in word.split("-") if forms(part) for weighed in weigh(part, known)]
    credit = 1.0
    factor = WEAK if word.lower() in WEAK_WORDS else 1.0
    if not count and len(found) == 1 and factor == 1.0:
        question_word = next((w for w in (*STOP_WORDS, *WEAK_WORDS) if one_slip(word.lower(), w)), "")
        if question_word in STOP_WORDS:
            return []
        factor = WEAK if question_word else 1.0
        found = forms(question_word) if question_word else (slip(found[0], known) or found[0],)
        count = known.frequency(found[0])
        credit = 1.0 if question_word else SLIP
    if not count and factor < 1.0:
        return []  # a word of the question's form, not of its matter
    weight = inverse_frequency(count, known.num_passages) * factor
    return [Weighed(word, found[0], tuple(dict.fromkeys(found[1:])), weight, credit)]


def slip(term: str, known: Vocabulary) -> str:
    """The most frequent known term one slip away, "" when there is none. The first two letters must be right."""
    if len(term) < 5 or not term.isalpha() or not term.isascii():
        return ""
    near = [(count, other) for other, count in known.beginning(term[:2]) if one_slip(term, other)]
    return max(near, default=(0, ""))[1]


def one_slip(typed: str, meant: str) -> bool:
    """Whether two letters are swapped, or one is missing, too many or wrong; never the first of a word of five."""
    if abs(len(typed) - len(meant)) > 1 or len(typed) < 5 or typed[0] != meant[:1] or typed == meant:
        return False
    at = next((i for i, (a, b) in enumerate(zip(typed, meant)) if a != b), min(len(typed), len(meant)))
    if len(typed) == len(meant):
        swapped = typed[at : at + 2] == meant[at : at + 2][::-1] and typed[at + 2 :] == meant[at + 2 :]
        return swapped or typed[at + 1 :] == meant[at + 1 :]
    return typed[at + 1 :] == meant[at:] if len(typed) > len(meant) else typed[at:] == meant[at + 1 :]


def query(weighed: Sequence[Weighed], vocabulary: Vocabulary) -> str:
    """An FTS5 query: known terms as quoted strings joined by OR, "" when none is known. No text of the user's can be
    syntax: every term stands in double quotes, and none contains one."""
    counts = {term: vocabulary.frequency(term) for word in weighed for term in (word.whole, *word.parts)}
    known = sorted((term for term, count in counts.items() if count), key=lambda term: (counts[term], term))
    rare = [term for term in known if counts[term] <= max(20, COMMON * vocabulary.num_passages)]
    chosen = rare if len(rare) >= 2 else known[:3]
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in chosen)


def key(name: str) -> str:
    """A name for comparison: its words in lower case, one blank between."""
    return " ".join(word.lower() for word in words(name))


def title_names(title: str) -> list[str]:
    """What a question may call this title, as `key`s: all of it, its last part, the last two."""
    return list(dict.fromkeys(name for name, _ in _title_names(title)))


@lru_cache(maxsize=1 << 16)
def _title_names(title: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each name of a title with its terms."""
    parts = title.split(" › ")
    found = [title, parts[-1]]
    dotted = parts[-1].split(".")
    if len(dotted) > 1 and " " not in parts[-1]:
        found += [dotted[-1], ".".join(dotted[-2:])]
    return tuple((key(name), tuple(terms(name))) for name in dict.fromkeys(found) if key(name))


def names(question: str) -> list[str]:
    """Runs of up to six words that could be a title, not made of stop words alone; of a dotted name its ends too."""
    every = [word.lower() for word in words(question)]
    found: dict[str, None] = {}
    for size in range(min(_LONGEST_NAME, len(every)), 0, -1):
        for first in range(len(every) - size + 1):
            run = every[first : first + size]
            if not all(word in STOP_WORDS for word in run):
                found[" ".join(run)] = None
    for word in every:
        parts = word.split(".")
        for first in range(1, len(parts)):
            found[".".join(parts[first:])] = None
    return list(found)[:_MOST_NAMES]


def rank(
    question: str, weighed: Sequence[Weighed], candidates: Sequence[Candidate]
) -> list[tuple[int, float]]:
    """(id, score), best first; equal scores by id."""
    best = max((candidate.bm25 for candidate in candidates), default=0.0) or 1.0
    spelled, asked = frozenset(names(question)), frozenset(terms(question))
    scored = [(candidate.id, _score(candidate, weighed, best, spelled, asked)) for candidate in candidates]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def _score(
    candidate: Candidate,
    weighed: Sequence[Weighed],
    best: float,
    spelled: frozenset[str],
    asked: frozenset[str],
) -> float:
    title, body = candidate.title.split(), candidate.body.split()
    matched = covered(weighed, set(title)) * sum(term in asked for term in title) / max(1, len(title))
    shared = [found for name, found in _title_names(candidate.name) if name in spelled]
    named = max((covered(weighed, set(found)) for found in shared), default=0.0)
    return (
        candidate.bm25 / best
        + COVERAGE * covered(weighed, {*title, *body})
        + TITLE * math.sqrt(matched)
        + NAMED * named
        + OPENING * (candidate.part == 0)
    )


def covered(weighed: Sequence[Weighed], found: set[str]) -> float:
    """Share of the question's weight whose terms are among `found`, 0..1. Of a name that is not there as a whole,
    half the share of its parts that are."""
    total = sum(word.weight for word in weighed)
    return sum(word.weight * share(word, found) for word in weighed) / total if total else 0.0


def share(word: Weighed, found: set[str]) -> float:
    if word.whole in found:
        return word.credit
    return 0.5 * sum(part in found for part in word.parts) / len(word.parts) if word.parts else 0.0
