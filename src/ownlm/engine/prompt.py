"""A request becomes token ids, or a RequestError that names the parameter, before anything runs."""

from __future__ import annotations

import math

from ownlm.errors import DataError, RequestError
from ownlm.records import Request, Sampling
from ownlm.tokenizer import chat
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import BOS

MAX_STOP_STRINGS = 16
MAX_STOP_CHARACTERS = 1024


def prompt_ids(request: Request, tokenizer: Tokenizer, max_context: int) -> list[int]:
    """Token ids of the one prompt form that the request uses; between 1 and max_context - 1 of them.

    messages (with documents) go through the chat template; prompt is BOS and the text; prompt_ids are taken as
    they are. Raises RequestError, with the counts where a prompt is too long: nothing is ever cut.
    """
    forms = [
        name for name in ("messages", "prompt", "prompt_ids") if getattr(request, name) not in (None, ())
    ]
    if len(forms) != 1:
        given = ", ".join(forms) or "none (or an empty one)"
        raise RequestError("A request needs exactly one of messages, prompt and prompt_ids.", f"given: {given}",
                           "send one of them", param=forms[0] if forms else "messages")  # fmt: skip
    if request.documents and forms != ["messages"]:
        raise RequestError("Documents belong to messages; a raw prompt has no place for them.",
                           f"{len(request.documents)} documents", "send messages, or no documents", param="documents")  # fmt: skip
    try:
        ids = _encode(request, tokenizer)
    except DataError as error:  # a lone surrogate: JSON can spell it, UTF-8 cannot
        raise RequestError(error.what, error.values, error.fix, param=forms[0]) from error
    if len(ids) >= max_context:
        raise RequestError(
            "The prompt is too long for this model.",
            f"{len(ids):,} prompt tokens + max_tokens {request.sampling.max_tokens:,}; the context is {max_context:,} "
            f"tokens, so a prompt may have at most {max_context - 1:,}",
            "shorten the prompt or send fewer documents; ownlm never cuts it silently",
            param=forms[0],
        )
    return ids


def check_sampling(sampling: Sampling) -> None:
    """Raises RequestError for a value outside its range."""
    s = sampling
    rules = (
        ("max_tokens", s.max_tokens, _whole(s.max_tokens) and s.max_tokens >= 1, "1 or more"),
        ("temperature", s.temperature, _number(s.temperature) and 0 <= s.temperature <= 100, "from 0 (greedy) to 100"),
        ("top_p", s.top_p, _number(s.top_p) and 0 < s.top_p <= 1, "above 0, at most 1"),
        ("top_k", s.top_k, _whole(s.top_k) and s.top_k >= 0, "0 (off) or more"),
        ("seed", s.seed, s.seed is None or (_whole(s.seed) and -(1 << 63) <= s.seed < 1 << 64), "a 64-bit integer"),
        ("stop", s.stop, _stops(s.stop), f"at most {MAX_STOP_STRINGS} non-empty strings of {MAX_STOP_CHARACTERS} characters"),
    )  # fmt: skip
    for name, value, fine, range_ in rules:
        if not fine:
            shown = repr(value)
            raise RequestError(
                f"{name} is out of range.", f"{name} = {shown[:200]}", f"{name} must be {range_}", param=name
            )


def _encode(request: Request, tokenizer: Tokenizer) -> list[int]:
    if request.messages:
        encoded = chat.encode_chat(
            tokenizer, request.messages, documents=request.documents, add_generation_prompt=True
        )
        return list(encoded.ids)
    if request.prompt is not None:
        return [tokenizer.special_id(BOS), *tokenizer.encode(request.prompt)]
    ids = list(request.prompt_ids or ())
    foreign = [i for i in ids if not _whole(i) or not 0 <= i < tokenizer.vocab_size]
    if foreign:
        raise RequestError("The prompt holds token ids outside the vocabulary.",
                           f"{foreign[:5]}; the vocabulary has ids 0 to {tokenizer.vocab_size - 1:,}",
                           "encode the prompt with this model's tokenizer", param="prompt_ids")  # fmt: skip
    return ids


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stops(stop: object) -> bool:
    return (
        isinstance(stop, tuple | list)
        and len(stop) <= MAX_STOP_STRINGS
        and all(isinstance(s, str) and 0 < len(s) <= MAX_STOP_CHARACTERS for s in stop)
    )
