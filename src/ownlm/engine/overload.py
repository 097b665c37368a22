"""The one engine error that is nobody's mistake: there is no room just now. Torch-free, so the service may import it."""

from __future__ import annotations

from ownlm.errors import OwnlmError


class Overloaded(OwnlmError):
    """The queue is full; ask again after `retry_after_seconds` (HTTP 503 with Retry-After)."""

    def __init__(self, what: str, values: str = "", fix: str = "", retry_after_seconds: float = 1.0) -> None:
        super().__init__(what, values, fix)
        self.retry_after_seconds = retry_after_seconds
