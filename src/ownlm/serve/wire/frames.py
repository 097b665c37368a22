"""The answers of the OpenAI API: whole objects, and the frames of a server-sent event stream.

A stream is: a chunk with the role; chunks with text and `finish_reason: null`; one last chunk with an
empty delta, the reason and the extension `ownlm`; with include_usage one chunk without choices; `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ownlm.records import Usage
from ownlm.serve.wire.errors import WireError

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all frames of one answer share."""

    id: str
    created: int
    model: str
    fingerprint: str
    kind: Literal["chat", "text"]

    def head(self, *, streamed: bool) -> dict[str, Any]:
        if self.kind == "chat":
            name = "chat.completion.chunk" if streamed else "chat.completion"
        else:
            name = "text_completion"
        return {
            "id": self.id,
            "object": name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def whole(
    envelope: Envelope, text: str, reason: str, usage: Usage, extension: Mapping[str, Any]
) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": reason}
    if envelope.kind == "chat":
        choice["message"] = {"role": "assistant", "content": text, "refusal": None}
    else:
        choice["text"] = text
    body = envelope.head(streamed=False)
    return {**body, "choices": [choice], "usage": usage_body(usage), "ownlm": extension}


def role_frame(envelope: Envelope, *, with_usage: bool) -> bytes:
    return _chunk(envelope, {"role": "assistant", "content": ""}, None, with_usage)


def text_frame(
    envelope: Envelope, text: str, *, with_usage: bool, extension: Mapping[str, Any] | None = None
) -> bytes:
    return _chunk(envelope, {"content": text}, None, with_usage, extension)


def last_frame(envelope: Envelope, reason: str, extension: Mapping[str, Any], *, with_usage: bool) -> bytes:
    return _chunk(envelope, {}, reason, with_usage, extension)


def usage_frame(envelope: Envelope, usage: Usage) -> bytes:
    return event({**envelope.head(streamed=True), "choices": [], "usage": usage_body(usage)})


def error_frame(error: WireError) -> bytes:
    return event(error.body())


def usage_body(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def event(body: Mapping[str, Any]) -> bytes:
    # ASCII JSON has no line break inside, and no lone surrogate can stop the encoding.
    return b"data: " + json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n\n"


def _chunk(
    envelope: Envelope,
    delta: Mapping[str, Any],
    reason: str | None,
    with_usage: bool,
    extension: Mapping[str, Any] | None = None,
) -> bytes:
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": reason}
    if envelope.kind == "chat":
        choice["delta"] = delta
    else:
        choice["text"] = delta.get("content", "")
    body = {**envelope.head(streamed=True), "choices": [choice]}
    if with_usage:
        body["usage"] = None
    if extension is not None:
        body["ownlm"] = extension
    return event(body)
