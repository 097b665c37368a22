"""A question that leans on the one before ("and what does it return?") made to stand alone, for retrieval."""

from __future__ import annotations

from collections.abc import Sequence

from ownlm.rag.lexical import LexicalIndex
from ownlm.rag.terms import STOP_WORDS, content_words, words
from ownlm.records import Message

_POINTING = frozenset("it its they them their he him his she her this that these those one there".split())  # noqa: SIM905
_FEW = 2  # content words; with more than this a question speaks for itself even if it says "it"
_SUBJECT_WORDS = 4  # of the question before that are carried over, the rarest


def standalone(messages: Sequence[Message], index: LexicalIndex) -> tuple[str, int]:
    """(the last question, with the rarest words of the question before where it points back; messages used).

    It points back when it has a pronoun and few content words, or none at all.
    """
    asked = [message.content for message in messages if message.role == "user" and message.content.strip()]
    question = asked[-1]
    if len(asked) < 2 or not points_back(question):
        return question, 1
    own = {word.lower() for word in words(question)}
    before = [word.word for word in index.weigh(asked[-2]) if word.word.lower() not in own][:_SUBJECT_WORDS]
    return (f"{question} ({' '.join(before)})", 2) if before else (question, 1)


def points_back(question: str) -> bool:
    """Whether a question cannot be understood without the one before."""
    found = [word.lower() for word in words(question)]
    content = [word for word in content_words(question) if word.lower() not in STOP_WORDS or "`" in question]
    leans = any(word in _POINTING for word in found) or (
        bool(found) and found[0] in ("and", "but", "so", "then")
    )
    return not content or (leans and len(content) <= _FEW)
