"""A request on its way through the engine."""

from __future__ import annotations

from collections.abc import Sequence as Ids
from dataclasses import dataclass, field
from queue import SimpleQueue

from ownlm.engine.stops import StopStrings
from ownlm.errors import OwnlmError
from ownlm.records import Chunk, Constraint, FinishReason, Sampling
from ownlm.tokenizer.stream import Detokenizer


@dataclass(eq=False, slots=True)
class Sequence:
    """Prompt, answer so far, and how much of both the model has seen.

        tokens       = prompt + generated
        num_computed = tokens whose keys and values are in the slot
        pending      = the rest: a prompt still to be read, forced tokens, or the one just drawn

    There are no phases: a step gives the model some of `pending`; when nothing is pending the logits of the
    last token choose the next one.
    """

    id: str
    prompt: list[int]
    sampling: Sampling
    seed: int
    max_new_tokens: int  # already limited by the context
    detokenizer: Detokenizer
    stops: StopStrings
    constraint: Constraint | None
    submitted: float  # clock readings in seconds
    generated: list[int] = field(default_factory=list)
    num_computed: int = 0
    slot: int = -1  # -1: not running
    allowed: Ids[int] | None = None  # ids that may follow; None: all
    unsent_text: str = ""
    num_sent: int = 0  # of `generated`
    finish_reason: FinishReason | None = None
    error: OwnlmError | None = None
    aborted: bool = False
    admitted_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0
    chunks: SimpleQueue[Chunk | OwnlmError | None] = field(default_factory=SimpleQueue)  # None: aborted

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.generated)

    @property
    def num_pending(self) -> int:
        return self.num_tokens - self.num_computed

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None or self.error is not None or self.aborted

    def pending(self, count: int) -> list[int]:
        """The next `count` tokens that the model has not seen."""
        start = self.num_computed - len(self.prompt)
        if start >= 0:
            return self.generated[start : start + count]
        return (self.prompt[self.num_computed : self.num_computed + count] + self.generated)[:count]
