"""What a client sees when something goes wrong: `{"error": {message, type, param, code}}` and a status.

The one place where exceptions become text for a client. Only texts written for the user leave the
machine: an OwnlmError's three parts, or a validation message. Everything else becomes "internal error"
with the request id; its own text and traceback go to the server's log only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ownlm.errors import OwnlmError, RequestError

TYPE_OF_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
}


class WireError(Exception):
    """An error that is ready to be sent."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        kind = TYPE_OF_STATUS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def from_exception(error: BaseException, request_id: str) -> WireError:
    """Choose status, text and code for an exception; texts not meant for users are left out."""
    if isinstance(error, WireError):
        return error
    retry_after = getattr(error, "retry_after_seconds", None)
    if isinstance(error, OwnlmError) and retry_after is not None:
        seconds = max(1, math.ceil(float(retry_after)))
        return WireError(503, _parts(error), code="overloaded", headers={"retry-after": str(seconds)})
    if isinstance(error, RequestError):
        code = "context_length_exceeded" if _is_length(error) else "invalid_request"
        return WireError(400, _parts(error), param=error.param, code=code)
    return WireError(
        500,
        f"The server failed on this request (request id {request_id}). The details are in its log.",
        code="internal_error",
    )


def from_validation(problems: Sequence[Mapping[str, Any]], unsupported: Mapping[str, str]) -> WireError:
    """The first problem of a pydantic validation, naming the field; `unsupported` explains known fields."""
    first = problems[0]
    # FastAPI puts where the value came from (body, path, query) in front of its name.
    place = [str(part) for part in first["loc"] if part not in ("body", "path", "query")]
    param = ".".join(place)[:200] or None
    more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
    if place and place[0] in unsupported:
        message = f"`{place[0]}` is not supported: {unsupported[place[0]]}"
        return WireError(400, message, param=place[0], code="unsupported_parameter")
    if first["type"] == "json_invalid":
        return WireError(400, "The body is not valid JSON.", code="invalid_json")
    if first["type"] == "extra_forbidden":
        text = f"`{param}` is not a field of this request. Leave it out."
        return WireError(400, text, param=param, code="unknown_parameter")
    message = f"`{param}`: {first['msg']}{more}" if param else f"{first['msg']}{more}"
    return WireError(400, message[:500], param=param, code="invalid_value")


def _parts(error: OwnlmError) -> str:
    """The three parts as sentences on one line."""
    parts = [" ".join(part.split()) for part in (error.what, error.values, error.fix) if part]
    return " ".join(part if part.endswith((".", "!", "?", ":")) else part + "." for part in parts)


def _is_length(error: RequestError) -> bool:
    text = _parts(error).lower()
    return "context" in text or "too long" in text
