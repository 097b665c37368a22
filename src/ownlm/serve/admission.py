"""Who may come in: the permission of each route, the key, the host name, the size and pace of a body.

The permission hangs on the matched route object, never on the text of a path: a path or Host trick can
change which route matches, but not what that route asks for (CVE-2026-48710, CVE-2026-48746).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, MutableMapping
from typing import Any, Literal, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from ownlm.errors import OwnlmError
from ownlm.serve.wire.errors import WireError, from_exception

Permission = Literal["open", "key"]
PERMISSION = "x-permission"  # where a route carries it; visible in the OpenAPI document too

LOOPBACK_HOSTS: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY_BYTES = 1024 * 1024
BODY_DEADLINE_SECONDS = 15.0  # for the whole body; uvicorn's own timer restarts with every byte

log = logging.getLogger("ownlm.serve")

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class KeyCheck:
    """Holds only the digest of the key. No key given: every route is open."""

    def __init__(self, api_key: str | None) -> None:
        self._digest = None if api_key is None else _digest(api_key)

    @property
    def needed(self) -> bool:
        return self._digest is not None

    def admit(self, permission: Permission, headers: Headers) -> None:
        """Raise WireError 401 unless the route is open or the request carries the key."""
        if permission == "open" or self._digest is None:
            return
        given = credential(headers)
        if given is None or not hmac.compare_digest(_digest(given), self._digest):
            what = "No API key was sent." if given is None else "The API key is wrong."
            raise WireError(
                401,
                f"{what} Send the header `Authorization: Bearer KEY`.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


def credential(headers: Headers) -> str | None:
    """The one reader of credentials: exactly one Authorization header, scheme Bearer."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, key = values[0].partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


class GuardedRoute(APIRoute):
    """A route that checks its own permission before its handler, and before the body is read."""

    def get_route_handler(self) -> Callable[[HttpRequest], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        permission = permission_of(self)

        async def guarded(request: HttpRequest) -> Response:
            if permission is None:
                raise WireError(403, "This route has no permission.", code="no_permission")
            request.app.state.key_check.admit(permission, request.headers)
            await request.body()  # here, so that "too large" and "too slow" keep their status
            try:
                return await handler(request)
            except (WireError, OwnlmError, HTTPException, RequestValidationError):
                raise
            except Exception as error:
                # Turned here, inside the gate, so that a 500 has the request id and headers too.
                request_id = request.state.request_id
                log.error("request %s failed", request_id, exc_info=error)
                raise from_exception(error, request_id) from error

        return guarded


def permission_of(route: object) -> Permission | None:
    if not isinstance(route, GuardedRoute):
        return None
    given = (route.openapi_extra or {}).get(PERMISSION)
    return given if given in get_args(Permission) else None


def check_permissions(app: FastAPI) -> dict[str, Permission]:
    """Every route with its permission. Raises RuntimeError, our own mistake, when one declares none."""
    table: dict[str, Permission] = {}
    for route in app.routes:
        permission = permission_of(route)
        if permission is None or not isinstance(route, GuardedRoute):
            path = getattr(route, "path", repr(route))
            raise RuntimeError(f"route {path} declares no permission; add it through serve.app._add")
        for method in sorted(route.methods or ()):
            table[f"{method} {route.path}"] = permission
    return table


class Gate:
    """ASGI middleware: request id, security headers, host and origin check, body size and deadline."""

    def __init__(self, app: Asgi, allowed_hosts: Collection[str] | None) -> None:
        self.app = app
        self.allowed_hosts = None if allowed_hosts is None else frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # there is no websocket here
            return await send({"type": "websocket.close", "code": 1000})
        request_id = "req_" + secrets.token_hex(12)  # ours, never the caller's: it names log lines
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers["x-request-id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(Headers(scope=scope))
            await self.app(scope, _limited(receive), send_headers)
        except WireError as error:
            if started:
                raise
            headers = {**error.headers, "connection": "close"}  # the rest of the body was not read
            response = JSONResponse(error.body(), status_code=error.status, headers=headers)
            await response(scope, receive, send_headers)

    def _check(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            raise WireError(400, "The Host header is missing, double or malformed.", code="bad_host")
        if self.allowed_hosts is not None and match[1] not in self.allowed_hosts:
            # A foreign name that resolves to this machine: DNS rebinding, or a wrong --host.
            names = ", ".join(sorted(self.allowed_hosts))
            raise WireError(400, f"This server does not answer to that Host. It is {names}.", code="bad_host")
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != hosts[0].lower():
            raise WireError(403, "Requests from other web sites are refused.", code="bad_origin")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > MAX_BODY_BYTES:
            raise _too_large()


def _limited(receive: Receive) -> Receive:
    """A receive that gives up on a body that is too large or too slow."""
    seen = 0
    complete = False
    deadline = time.monotonic() + BODY_DEADLINE_SECONDS

    async def limited() -> MutableMapping[str, Any]:
        nonlocal seen, complete
        if complete:
            return await receive()  # now only the client's leaving can arrive: wait as long as it takes
        try:
            message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise WireError(
                408, f"The body took longer than {BODY_DEADLINE_SECONDS:.0f} s.", code="slow_body"
            ) from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > MAX_BODY_BYTES:
                raise _too_large()
        return message

    return limited


def _too_large() -> WireError:
    return WireError(413, f"The body is larger than {MAX_BODY_BYTES:,} bytes.", code="body_too_large")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
