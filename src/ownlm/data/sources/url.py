"""A URL as a stream of bytes: bounded in size and time, and kept out of private networks.

The name is resolved once, every address it has is checked, and the connection goes to a checked address, so that an
answer that changes between check and use (DNS rebinding) changes nothing. Redirects are followed at most five times
and checked likewise. Proxy variables of the environment are not heeded. TLS certificates are verified.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urljoin, urlsplit

from ownlm.data.addresses import is_public
from ownlm.data.limits import Limits, Unusable

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = "ownlm (data reader)"


class _Body(io.RawIOBase):
    """The body of a response, counted and timed. Raises Unusable past a limit or when it ends early."""

    def __init__(self, response: http.client.HTTPResponse, limits: Limits, deadline: float) -> None:
        self._response, self._limits, self._deadline = response, limits, deadline
        self._taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() > self._deadline:
            raise Unusable(f"URL takes longer than {self._limits.url_seconds:.0f} seconds")
        try:
            data = self._response.read1(min(len(buffer), 1 << 16))
        except (http.client.HTTPException, ValueError) as error:
            raise Unusable(f"URL ended early: {type(error).__name__}") from error
        except TimeoutError as error:
            raise Unusable(f"URL silent for {self._limits.url_idle_seconds:.0f} seconds") from error
        if not data and self._response.length:
            raise Unusable(f"URL ended early: {self._response.length} bytes are missing")
        buffer[: len(data)] = data
        self._taken += len(data)
        if self._taken > self._limits.url_bytes:
            raise Unusable(f"URL gives more than {self._limits.url_bytes} bytes")
        return len(data)


@contextmanager
def opened(url: str, limits: Limits, *, allow_private: bool = False) -> Iterator[io.BufferedReader]:
    """The body of a GET. Raises Unusable for refused addresses, statuses other than 200, and limits."""
    deadline = time.monotonic() + limits.url_seconds
    for _ in range(_MOST_REDIRECTS + 1):
        connection, target = _connected(url, limits, allow_private)
        try:
            response = _asked(connection, target)
            if response.status in _REDIRECTS:
                url = urljoin(url, response.headers.get("Location", ""))
                continue
            if response.status != 200:
                raise Unusable(f"HTTP status: {response.status}")
            yield io.BufferedReader(_Body(response, limits, deadline), 1 << 20)
            return
        finally:
            connection.close()
    raise Unusable(f"URL redirects more than {_MOST_REDIRECTS} times")


def _asked(connection: http.client.HTTPConnection, target: str) -> http.client.HTTPResponse:
    try:
        connection.request("GET", target, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
        return connection.getresponse()
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise Unusable(f"URL cannot be fetched: {error or type(error).__name__}"[:200]) from error


def _connected(url: str, limits: Limits, allow_private: bool) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unusable(f"bad URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Unusable(f"URL is refused: only http and https without a user name are read, not {url[:80]!r}")
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    address = public_address(parts.hostname, port, allow_private)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=limits.url_idle_seconds)
    try:
        sock = socket.create_connection((address, port), limits.url_idle_seconds)
        if secure:
            sock = _tls().wrap_socket(sock, server_hostname=parts.hostname)
    except OSError as error:
        raise Unusable(f"URL cannot be reached: {error.strerror or error}"[:200]) from error
    connection.sock = sock
    target = parts.path or "/"
    return connection, target + (f"?{parts.query}" if parts.query else "")


def public_address(host: str, port: int, allow_private: bool) -> str:
    """One address of the host. Raises Unusable when any of its addresses is not on the public internet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unusable(f"URL cannot be reached: {host[:80]} has no address") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not allow_private and not all(map(is_public, addresses)):
        raise Unusable("URL is refused: its address is private, loopback or link-local")
    return addresses[0]


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
