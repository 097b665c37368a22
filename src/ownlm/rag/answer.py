"""From a question to a grounded answer: retrieve, refuse or generate under the constraint, cite.

GroundedAnswerer is a Generate around another one. The model decides what to say among the claims that the passages
allow (grounding.py); before that, a question about which retrieval finds nothing relevant is refused without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ownlm.errors import RequestError
from ownlm.rag.followup import standalone
from ownlm.rag.grounding import REFUSAL, GroundedConstraint, asks_for_place, citations
from ownlm.rag.lexical import LexicalIndex
from ownlm.rag.prompt import prompt_for, worth_reading
from ownlm.records import Chunk, Generate, Message, Passage, Request, Usage
from ownlm.tokenizer.chat import encode_chat
from ownlm.tokenizer.tokenizer import Tokenizer

RESERVED = 160  # tokens of the context kept for the answer when passages are fitted in


@dataclass(frozen=True, slots=True)
class Retrieved:
    question: str  # as searched: with the subject of the one before when it has none of its own
    messages_used: int
    passages: tuple[Passage, ...]
    num_far: int  # passages that were found but score far below the best
    num_dropped: int  # passages that do not fit the context
    relevance: float
    seconds: float


class GroundedAnswerer:
    def __init__(
        self,
        generator: Generate,
        index: LexicalIndex,
        tokenizer: Tokenizer,
        *,
        k: int = 3,
        max_claims: int = 3,
        max_context: int | None = None,
        threshold: float | None = None,
        refusal: str = REFUSAL,
        model_refuses: bool = False,
        name: str = "ownlm",
    ) -> None:
        """max_context: in tokens, default the generator's own; threshold: of relevance, default the index's.

        model_refuses: the model may refuse too. Off, because at a few million parameters it does so at random: the
        one refusal outweighs each of many claims, of which none is likely by itself.
        """
        self.generator, self.index, self.tokenizer, self.name = generator, index, tokenizer, name
        self.k, self.max_claims, self.refusal, self.model_refuses = k, max_claims, refusal, model_refuses
        self.max_context = max_context or getattr(generator, "max_context", None)
        self.threshold = index.threshold if threshold is None else threshold

    def generate(self, request: Request) -> Iterator[Chunk]:
        """Chunks of the answer; the last one's detail holds passages, citations and the decision to refuse or not.

        Raises RequestError before the first chunk when there is no question, or when the request brings a raw prompt
        or a constraint of its own.
        """
        question = _question(request)
        found = self.retrieve(question, request)
        prompt = len(encode_chat(self.tokenizer, *self._prompt(question, found)).ids)
        if found.relevance < self.threshold:
            return self._refuse(found, prompt)
        messages, documents = self._prompt(question, found)
        most = request.sampling.max_tokens
        refusal = self.refusal if self.model_refuses else None
        place = asks_for_place(found.question)
        constraint = GroundedConstraint(self.tokenizer, found.passages, refusal, self.max_claims, most, place)
        inner = replace(request, messages=messages, documents=documents, constraint=constraint)
        return self._stream(found, constraint, self.generator.generate(inner))

    def _prompt(self, question: str, found: Retrieved) -> tuple[tuple[Message, ...], tuple[Passage, ...]]:
        return prompt_for(found.question if found.messages_used > 1 else question, found.passages)

    def retrieve(self, question: str, request: Request) -> Retrieved:
        """Passages for a request: its own documents where it brings some, else the index's best."""
        started = time.perf_counter()
        asked, used = standalone(request.messages, self.index)
        given = request.documents or tuple(self.index.search(asked, self.k))
        passages = request.documents or tuple(worth_reading(given))
        kept = self._fitting(asked, passages)
        relevance = self.index.relevance(asked, kept)
        seconds = time.perf_counter() - started
        return Retrieved(
            asked, used, kept, len(given) - len(passages), len(passages) - len(kept), relevance, seconds
        )

    def _fitting(self, question: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """The first passages that fit the context together with the question and room for an answer."""
        kept = tuple(passages)
        if self.max_context is None:
            return kept
        while (
            kept
            and len(encode_chat(self.tokenizer, *prompt_for(question, kept)).ids) + RESERVED
            > self.max_context
        ):
            kept = kept[:-1]
        return kept

    def _refuse(self, found: Retrieved, prompt_tokens: int) -> Iterator[Chunk]:
        ids = tuple(self.tokenizer.encode(self.refusal))
        yield Chunk(self.refusal, ids)
        yield Chunk(
            "", (), "stop", Usage(prompt_tokens, len(ids)), self._detail(found, True, [], by="relevance")
        )

    def _stream(
        self, found: Retrieved, constraint: GroundedConstraint, chunks: Iterator[Chunk]
    ) -> Iterator[Chunk]:
        text: list[str] = []
        try:
            for chunk in chunks:
                text.append(chunk.text)
                if chunk.finish_reason is None:
                    yield chunk
                    continue
                answer = "".join(text)
                refused = answer.strip() == self.refusal
                detail = self._detail(
                    found, refused, citations(answer, constraint.claims), by="model" if refused else ""
                )
                yield replace(chunk, detail={**chunk.detail, **detail})
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _detail(
        self, found: Retrieved, refused: bool, cited: list[dict[str, int]], by: str
    ) -> Mapping[str, Any]:
        return {
            "grounded": True,
            "passages": [as_dict(n, passage) for n, passage in enumerate(found.passages, 1)],
            "citations": cited,
            "refused": refused,
            "refused_by": by,
            "relevance": round(found.relevance, 4),
            "threshold": self.threshold,
            "question": found.question,
            "messages_used": found.messages_used,
            "passages_far": found.num_far,
            "passages_dropped": found.num_dropped,
            "retrieval_seconds": round(found.seconds, 6),
        }


def as_dict(n: int, passage: Passage) -> dict[str, Any]:
    """A passage as JSON, with its number in the answer."""
    names = ("id", "document_id", "title", "source", "licence", "text", "start", "end", "score")
    return {"n": n, **{name: getattr(passage, name) for name in names}}


def _question(request: Request) -> str:
    if request.prompt is not None or request.prompt_ids is not None:
        raise RequestError("A grounded answer needs messages, not a raw prompt.", "", "send messages, or ask the raw model", "prompt")  # fmt: skip
    if request.constraint is not None:
        raise RequestError(
            "A grounded answer brings its own constraint.", "", "leave the constraint out", "constraint"
        )
    if not request.messages or request.messages[-1].role != "user":
        role = request.messages[-1].role if request.messages else "none"
        raise RequestError("The last message must be the user's question.", f"last message: {role}", "end with a user message", "messages")  # fmt: skip
    question = request.messages[-1].content
    if not question.strip():
        raise RequestError("The question is empty.", "", "ask something", "messages")
    return question
