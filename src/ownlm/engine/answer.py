"""What a new token does to its request: text, stops, length, the constraint's next word."""

from __future__ import annotations

from collections.abc import Container

from ownlm.engine.sequence import Sequence
from ownlm.errors import OwnlmError
from ownlm.records import Chunk, FinishReason, Usage


def accept(sequence: Sequence, token: int, stop_ids: Container[int], vocab_size: int) -> None:
    """Append a token; afterwards either the sequence has a finish_reason or the constraint was asked again."""
    sequence.generated.append(token)
    if token in stop_ids:
        _finish(sequence, "stop")
        return
    text, stopped = sequence.stops.push(sequence.detokenizer.push(token))
    sequence.unsent_text += text
    if stopped:
        sequence.finish_reason = "stop"
    elif len(sequence.generated) >= sequence.max_new_tokens:
        _finish(sequence, "length")
    else:
        ask_constraint(sequence, vocab_size)


def _finish(sequence: Sequence, reason: FinishReason) -> None:
    """End the answer and let out what was held back; that last text may still complete a stop string."""
    text, stopped = sequence.stops.push(sequence.detokenizer.flush())
    sequence.unsent_text += text + sequence.stops.flush()
    sequence.finish_reason = "stop" if stopped else reason


def ask_constraint(sequence: Sequence, vocab_size: int) -> None:
    """Set `sequence.allowed`. Raises OwnlmError for a constraint that fails or leaves nothing possible."""
    if sequence.constraint is None:
        return
    try:
        answer = sequence.constraint.allowed(sequence.generated)
        allowed = None if answer is None else [int(i) for i in answer]
    except Exception as error:
        raise OwnlmError(
            "The request's constraint failed.", f"{type(error).__name__}: {error}", ""
        ) from error
    if allowed is not None and (not allowed or min(allowed) < 0 or max(allowed) >= vocab_size):
        raise OwnlmError("The request's constraint allows no token of the vocabulary.",
                             f"after {len(sequence.generated)} tokens: {allowed[:5]}",
                             "a constraint ends an answer by allowing the end token")  # fmt: skip
    sequence.allowed = allowed


def drain(sequence: Sequence, now: float) -> Chunk | None:
    """The chunk of what is new; None when there is no text to show and the answer goes on."""
    if not sequence.unsent_text and not sequence.finish_reason:
        return None
    ids = tuple(sequence.generated[sequence.num_sent :])
    text, sequence.unsent_text, sequence.num_sent = sequence.unsent_text, "", len(sequence.generated)
    if not sequence.finish_reason:
        return Chunk(text, ids)
    usage = Usage(len(sequence.prompt), len(sequence.generated))
    return Chunk(text, ids, sequence.finish_reason, usage, _detail(sequence, now))


def _detail(sequence: Sequence, now: float) -> dict[str, object]:
    """Timings in seconds, and the seed that reproduces a drawn answer."""
    seconds = now - sequence.first_token_at
    count = len(sequence.generated) - 1
    timings = {
        "queue_seconds": sequence.admitted_at - sequence.submitted,
        "ttft_seconds": sequence.first_token_at - sequence.submitted,
        "total_seconds": now - sequence.submitted,
        "tokens_per_second": count / seconds if count and seconds > 0 else 0.0,
    }
    seed = {"seed": sequence.seed} if sequence.sampling.temperature > 0 else {}
    return {"timings": timings, **seed}
