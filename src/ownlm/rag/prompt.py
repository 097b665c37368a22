"""The one place where a question and its passages become a prompt: the same for training, evaluation and service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ownlm.data.synth.sentences import plain
from ownlm.records import Message, Passage

NEAR = 0.8  # of the best passage's score: what is further down rarely holds the answer, and costs attention


def worth_reading(passages: Sequence[Passage]) -> list[Passage]:
    """The passages, best first, that score at least NEAR of the best: those that a prompt holds."""
    return [passage for passage in passages if passage.score >= NEAR * passages[0].score]


def prompt_for(question: str, passages: Sequence[Passage]) -> tuple[tuple[Message, ...], tuple[Passage, ...]]:
    """(messages, documents) for the chat template. Passages are numbered from 1 in the given order; their text stands
    on one line, as it is quoted, and so costs no tokens for indentation. Nothing is left out."""
    shown = tuple(
        replace(p, title=plain(p.title), source=plain(p.source), text=plain(p.text)) for p in passages
    )
    return (Message("user", " ".join(question.split())),), shown
