"""The nouns every room passes around, and the few protocols that keep rooms apart. Standard library only.

A record is a plain frozen dataclass. A protocol names a capability that is handed in as an argument
(`generate`, `retrieve`) instead of being imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its origin. Offsets elsewhere (`Passage.start`) count characters of `text`."""

    id: str  # stable: derived from the source, not from the position in a list
    text: str
    source: str  # path relative to the data folder, module name, or URL; `file.jsonl#12` for a row
    licence: str = "unknown"  # SPDX id where one is known
    meta: Mapping[str, Any] = field(default_factory=dict)  # JSON values only


@dataclass(frozen=True, slots=True)
class Drop:
    """A document (or a part of one) that a step did not pass on, and why."""

    source: str
    step: str
    reason: str
    sample: str = ""  # the first characters of what was dropped


@dataclass(frozen=True, slots=True)
class Passage:
    """A citable piece of a document: what retrieval returns and what [n] in an answer points at."""

    id: int
    document_id: str
    title: str  # breadcrumb: qualified name, or headings from the outermost in
    text: str
    source: str
    licence: str
    start: int  # characters into the document's text
    end: int
    score: float = 0.0  # retrieval score, higher is better; 0.0 outside a retrieval


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question made from a document by rule, with everything needed to train on it or to grade it."""

    id: str
    kind: str  # what_is, how_to, which_place, returns, unanswerable ...
    text: str
    answer: str  # reference answer with [n] replaced by nothing; the exact refusal when unanswerable
    subject: str  # the object that a right answer names
    document_id: str  # "" when unanswerable
    start: int = 0  # the span of the document that answers it, in characters
    end: int = 0
    answerable: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: off
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Constraint(Protocol):
    """Which tokens may come next: pure in the tokens generated so far, so that batching cannot change it."""

    def allowed(self, generated: Sequence[int]) -> Sequence[int] | None:
        """Ids that may follow `generated`; None allows every id; an empty sequence is an error."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of anything that generates: messages, or a raw prompt (text or token ids)."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    prompt_ids: tuple[int, ...] | None = None
    documents: tuple[Passage, ...] = ()  # passages for the chat template
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer as it appears. Text never ends inside a UTF-8 character or a stop string.

    The last chunk of an answer, and only it, has a finish_reason and a usage.
    """

    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)  # JSON: passages, citations, lineage, timings


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: the chunks joined."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step of a training run, as written to the run log."""

    step: int  # 1 is the first finished step
    num_steps: int
    loss: float  # nats per predicted token, mean over the step
    tokens: int  # tokens trained on so far
    learning_rate: float
    grad_norm: float
    seconds: float  # wall time of this step
    tokens_per_second: float
    mfu: float  # share of the measured matrix-product peak of this machine
    event: str = ""  # what was out of the ordinary: a step skipped for an overflow


@dataclass(frozen=True, slots=True)
class Score:
    """One graded sample of an evaluation."""

    task: str
    sample_id: str
    metrics: Mapping[str, float]
    detail: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Generate(Protocol):
    """Whatever answers a request: the engine, a grounded answerer, a remote endpoint, a guarded one."""

    name: str

    def generate(self, request: Request) -> Iterator[Chunk]: ...


class Retrieve(Protocol):
    """Question in, best passages first out."""

    def __call__(self, question: str, k: int) -> list[Passage]: ...


class Encode(Protocol):
    """Text to token ids and back. Special tokens in `text` are encoded as ordinary text."""

    vocab_size: int

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


def complete(generator: Generate, request: Request) -> Completion:
    """Run a request to its end and join the chunks."""
    text: list[str] = []
    ids: list[int] = []
    detail: dict[str, Any] = {}
    last = Chunk(finish_reason="error", usage=Usage())
    for last in generator.generate(request):
        text.append(last.text)
        ids.extend(last.token_ids)
        detail.update(last.detail)
    return Completion("".join(text), tuple(ids), last.finish_reason or "error", last.usage or Usage(), detail)
