"""What the rules of each kind of source hand over: a question without its id and its typing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import regex

NO_COUNTS: Mapping[str, int] = {}
_SPACES = regex.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Draft:
    kind: str
    templates: tuple[str, ...]
    x: str  # what goes into the template
    answer: str  # TITLE: SENTENCE, or TITLE is in SOURCE.
    subject: str  # what a right answer names
    start: int
    end: int


def says(title: str, sentence: str) -> str:
    """The claim that quotes a sentence (already on one line)."""
    return f"{title}: {sentence}"


def is_in(title: str, source: str) -> str:
    """The claim that names a place."""
    return f"{title} is in {source}."


def phrase_after_verb(sentence: str, most: int = 12) -> str:
    """The start of a sentence up to its first clause boundary, without a full stop."""
    head = regex.split(
        r"[,;:!?(]|\.(?:\s|$)|\s[—–-]\s|--|\b(?:which|that is|because|so that|e\.g\.)\b", sentence
    )[0]
    words = _SPACES.sub(" ", head).strip(" .\"'`").split(" ")
    return " ".join(words) if 2 <= len(words) <= most else ""
