"""What an answer may say: claims quoted from the passages, as a trie of tokens that the model walks.

A claim is `TITLE: SENTENCE [n]` or `TITLE is in SOURCE. [n]`. TITLE, SOURCE and SENTENCE are passage n's, verbatim but
for line breaks: one on a line with the indentation after it is a single blank. The model chooses at every fork of
the trie (which passage, which sentence, one more claim or the end, or the refusal); what it cannot do is to say
something that stands in no passage, or to cite the wrong one.

Token ids are those that the tokenizer gives for the whole claim, so that what is trained on and what is allowed are
the same sequences. A blank joins two claims; it belongs to the tokens of the later one, and since a claim ends with
`]` no token reaches over the joint (checked by `joined_exactly`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import regex

from ownlm.data.synth.drafts import is_in, says
from ownlm.data.synth.outline import is_code_source
from ownlm.data.synth.sentences import plain, sentences
from ownlm.data.synth.unanswerable import REFUSAL
from ownlm.records import Passage

__all__ = ["REFUSAL", "Claim", "GroundedConstraint", "citations", "claims"]

MOST_SENTENCES = 12  # of one passage that are offered
LONGEST = 320  # characters of a sentence; a longer one is offered up to a clause or line end before that
_CLAUSE = regex.compile(r"[;:.,!?—–](?=\s|$)|\n")
END = "<|end|>"


class _Tokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...

    def special_id(self, name: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Claim:
    text: str  # with its mark
    n: int  # number of the passage, from 1


_PLACE = regex.compile(
    r"\bwhere\b|\b(?:which|what)\s+(?:\w+\s+){0,2}?(?:module|file|section|chapter|page|document|package|part|place)s?\b",
    regex.IGNORECASE,
)


def asks_for_place(question: str) -> bool:
    """Whether a question wants to know where something stands. English; other languages give False."""
    return _PLACE.search(question) is not None


def claims(passages: Sequence[Passage], place: bool | None = None) -> list[Claim]:
    """Everything that may be said from these passages, passage 1 first. What two passages say alike, the first says.

    place: True offers only where things are, False only what is said there, None both.
    """
    found: dict[str, Claim] = {}
    for n, passage in enumerate(passages, 1):
        for words in _statements(passage, place):
            found.setdefault(words, Claim(f"{words} [{n}]", n))
    return list(found.values())


def _statements(passage: Passage, place: bool | None) -> list[str]:
    title = plain(passage.title)
    found = [] if place else [says(title, sentence) for sentence in quotable(passage)]
    if place is False and found:
        return found
    return [*found, is_in(title, plain(passage.source))]


def quotable(passage: Passage) -> list[str]:
    """The sentences of a passage, each on one line, in order: at most MOST_SENTENCES, none longer than LONGEST."""
    spans = sentences(passage.text, code=is_code_source(passage.source))
    return list(dict.fromkeys(_shortened(passage.text[start:end]) for start, end in spans))[:MOST_SENTENCES]


def _shortened(sentence: str) -> str:
    """The sentence itself, or where it is too long its beginning up to the last clause, line or word that fits."""
    whole = plain(sentence)
    if len(whole) <= LONGEST:
        return whole
    ends = [
        match.end()
        for match in _CLAUSE.finditer(sentence)
        if 40 <= len(plain(sentence[: match.end()])) <= LONGEST
    ]
    if ends:
        return plain(sentence[: ends[-1]])
    return whole[:LONGEST].rpartition(" ")[0] or whole[:LONGEST]


@dataclass(slots=True)
class _Node:
    """A fork: next tokens; `claim` where a claim is complete."""

    children: dict[int, _Node] = field(default_factory=dict)
    claim: int = -1  # index into the claims; -2: the refusal
    members: set[int] = field(default_factory=set)  # claims below

    def add(self, ids: Sequence[int], claim: int) -> None:
        node = self
        node.members.add(claim)
        for id in ids:
            node = node.children.setdefault(id, _Node())
            node.members.add(claim)
        node.claim = claim


@dataclass(frozen=True, slots=True)
class _State:
    node: _Node
    said: tuple[int, ...]  # claims completed so far; the current node may be the end of the last one
    began: int = 0  # position of the first token of the claim that is being said


class GroundedConstraint:
    """Which tokens may follow: a Constraint (records.py). Pure in `generated`; remembers where its prefixes led."""

    def __init__(
        self,
        tokenizer: _Tokenizer,
        passages: Sequence[Passage],
        refusal: str | None = REFUSAL,
        max_claims: int = 3,
        max_tokens: int | None = None,
        place: bool | None = None,
    ) -> None:
        """refusal: None takes it off the choices. max_tokens: claims that would not end within so many tokens are not
        offered, unless none would. place: as in `claims`."""
        self.claims = claims(passages, place)
        self.end = tokenizer.special_id(END)
        self.max_claims, self.max_tokens = max_claims, max_tokens
        self._first, self._later = _Node(), _Node()
        self._lengths: list[int] = []
        for number, claim in enumerate(self.claims):
            self._first.add(tokenizer.encode(claim.text), number)
            later = tokenizer.encode(" " + claim.text)
            self._lengths.append(len(later))
            self._later.add(later, number)
        if refusal is not None:
            self._first.add(tokenizer.encode(refusal), -2)
        self._states: dict[tuple[int, ...], _State] = {(): _State(self._first, ())}

    def allowed(self, generated: Sequence[int]) -> list[int]:
        """Ids that may follow. Raises ValueError for a sequence that this constraint would not have allowed."""
        state = self._state(tuple(generated))
        if state is None or state.node.claim == -2:
            return [self.end]
        if state.node.claim == -1:
            return self._open(state, True) or self._open(state, False)
        if len(state.said) >= self.max_claims:
            return [self.end]
        return [self.end, *self._open(_State(self._later, state.said, len(generated)), True)]

    def _open(self, state: _State, fitting: bool) -> list[int]:
        """Next tokens that lead to a claim not yet said; fitting: and that ends within max_tokens."""
        return [
            id
            for id, child in state.node.children.items()
            if any(m not in state.said and (not fitting or self._fits(m, state.began)) for m in child.members)
        ]

    def _fits(self, member: int, began: int) -> bool:
        return self.max_tokens is None or member == -2 or began + self._lengths[member] < self.max_tokens

    def _state(self, generated: tuple[int, ...]) -> _State | None:
        """Where a sequence of tokens leads; None behind the end token."""
        known = len(generated)
        while generated[:known] not in self._states:
            known -= 1
        state = self._states[generated[:known]]
        for at in range(known, len(generated)):
            following = self._step(state, generated[at], at)
            if following is None and at + 1 < len(generated):
                raise ValueError(
                    f"token {generated[at + 1]} at position {at + 1} comes after the end of the answer"
                )
            if following is None:
                return None
            state = self._states[generated[: at + 1]] = following
        return state

    def _step(self, state: _State, id: int, at: int) -> _State | None:
        node, said, began = state.node, state.said, state.began
        if node.claim != -1 and id == self.end:
            return None
        if node.claim >= 0:
            node, began = self._later, at
        child = node.children.get(id)
        if child is None or not child.members - set(said):
            raise ValueError(f"token {id} at position {at} is not allowed there")
        return _State(child, (*said, child.claim) if child.claim >= 0 else said, began)


def joined_exactly(tokenizer: _Tokenizer, texts: Sequence[str]) -> bool:
    """Whether claims joined by blanks have the tokens of the parts: what GroundedConstraint relies on."""
    parts = [tokenizer.encode((" " if number else "") + text) for number, text in enumerate(texts)]
    return tokenizer.encode(" ".join(texts)) == [id for part in parts for id in part]


def citations(answer: str, offered: Sequence[Claim]) -> list[dict[str, int]]:
    """[{n, start, end}] of the claims in an answer: answer[start:end] is what mark [n] after it supports.

    A last claim that was cut off (finish_reason "length") has no mark and gives nothing.
    """
    found: list[dict[str, int]] = []
    at = 0
    by_length = sorted(offered, key=lambda claim: -len(claim.text))
    while at < len(answer):
        claim = next((claim for claim in by_length if answer.startswith(claim.text, at)), None)
        if claim is None:
            break
        end = at + len(claim.text) - len(f" [{claim.n}]")
        found.append({"n": claim.n, "start": at, "end": end})
        at += len(claim.text) + 1
    return found
