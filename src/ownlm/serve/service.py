"""What the routes share: the generators, the stores that were handed in, and how many requests run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request as HttpRequest

from ownlm.records import Document, Generate, Passage
from ownlm.serve.feedback import Feedback
from ownlm.serve.metrics import Metrics
from ownlm.serve.wire.errors import WireError

RAW_SUFFIX = ":raw"
MAX_IN_FLIGHT = 128  # requests with a thread; the engine's own queue limit normally comes first


class PassageStore(Protocol):
    """Called from worker threads. An unknown id: KeyError, None, or any OwnlmError."""

    def passage(self, passage_id: int) -> Passage | None: ...

    def document(self, document_id: str) -> Document | None: ...


@dataclass
class Service:
    generator: Generate
    raw: Generate
    name: str
    passages: PassageStore
    lineage: Callable[[str, tuple[int, ...]], Mapping[str, Any]] | None
    model_info: Mapping[str, Any]
    examples: Sequence[str]
    feedback: Feedback | None
    ready: Callable[[], bool]
    metrics: Metrics = field(default_factory=Metrics)
    created: int = field(default_factory=lambda: int(time.time()))
    in_flight: int = 0
    drain_at: float | None = None  # time.monotonic() after which open streams end with an error

    @property
    def raw_name(self) -> str:
        return self.name + RAW_SUFFIX

    @property
    def fingerprint(self) -> str:
        return "ownlm-" + str(self.model_info.get("digest") or "unknown")[:12]

    def pick(self, model: str) -> Generate:
        """Raises WireError 404 for a name that is not in /v1/models."""
        if model == self.name:
            return self.generator
        if model == self.raw_name:
            return self.raw
        names = f"`{self.name}` (answers from the documents) and `{self.raw_name}` (the bare language model)"
        raise WireError(
            404, f"There is no model of that name. There are {names}.", param="model", code="model_not_found"
        )

    def enter(self) -> None:
        """Count a request in, or raise WireError 503. `leave` must follow."""
        if self.drain_at is not None:
            raise WireError(
                503, "The server is shutting down.", code="shutting_down", headers={"retry-after": "5"}
            )
        if self.in_flight >= MAX_IN_FLIGHT:
            raise WireError(
                503,
                f"{self.in_flight} requests are in progress, the most that this server takes.",
                code="overloaded",
                headers={"retry-after": "1"},
            )
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1

    def drain(self, seconds: float) -> None:
        """Take no new requests; streams that are still open after `seconds` end with an error event."""
        if self.drain_at is None:
            self.drain_at = time.monotonic() + seconds


def service_of(http: HttpRequest) -> Service:
    service: Service = http.app.state.service
    return service
