"""One HTTP GET over a socket that may only go where it was allowed to, bounded in time and bytes.

Addresses are checked where it counts: the name is resolved here, and the connection goes to the very address that
was checked, so neither a redirect nor a name that changes its answer (DNS rebinding) reaches a private network.
No proxy, no cookies, no credentials, no redirect following: the caller decides about every next step.
The body is kept decoded (chunks and gzip undone) under the same limit of bytes.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import ownlm
from ownlm.data.addresses import is_public
from ownlm.data.crawl.robots import TOKEN
from ownlm.data.crawl.urls import Url

_READ = 1 << 16
_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
USER_AGENT = f"{TOKEN}/{ownlm.__version__} (+https://pypi.org/project/ownlm)"


class FetchError(Exception):
    """A page that was not fetched; `category` is what the summary counts, `again` says whether a retry may help."""

    def __init__(self, category: str, detail: str = "", again: bool = False) -> None:
        self.category, self.detail, self.again = category, detail, again
        super().__init__(f"{category}: {detail}" if detail else category)


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float = 30.0  # for one page, from the connection to its last byte
    num_bytes: int = 16 << 20  # of the decoded body
    types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")
    allow_private: bool = False


@dataclass(slots=True)
class Reply:
    """What came back. `body` is decoded; `sent` is the request as it went out."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    sent: bytes
    address: str  # IP address that answered
    began: float  # seconds since the epoch
    names: dict[str, str] = field(default_factory=dict)  # header in lower case -> values joined by ", "

    def __post_init__(self) -> None:
        for name, value in self.headers:
            key = name.lower()
            self.names[key] = f"{self.names[key]}, {value}" if key in self.names else value

    @property
    def media_type(self) -> str:
        return self.names.get("content-type", "").partition(";")[0].strip().lower()


def fetch(url: Url, bounds: Bounds, any_type: bool = False) -> Reply:
    """GET one URL. Raises FetchError for everything that is no answer within the bounds.

    An answer of another media type than `bounds.types` is returned without its body, unless any_type.
    """
    deadline = time.monotonic() + bounds.seconds
    began = time.time()
    sock, address = _connect(url, bounds, deadline)
    try:
        timed = _Timed(sock, deadline)
        sent = _request(url)
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        sock.sendall(sent)
        response = http.client.HTTPResponse(timed, method="GET")  # type: ignore[arg-type]
        response.begin()
        reply = Reply(response.status, response.reason, response.getheaders(), b"", sent, address, began)
        if any_type or reply.status != 200 or reply.media_type in bounds.types:
            reply.body = _body(response, reply.names.get("content-encoding", ""), bounds.num_bytes)
        return reply
    except TimeoutError as error:
        raise FetchError("timed out", f"{bounds.seconds:g} seconds", again=True) from error
    except (http.client.HTTPException, zlib.error, ValueError) as error:
        raise FetchError("bad HTTP answer", f"{type(error).__name__}: {error}"[:200]) from error
    except OSError as error:
        raise FetchError("connection lost", str(error)[:200], again=True) from error
    finally:
        sock.close()


def _connect(url: Url, bounds: Bounds, deadline: float) -> tuple[socket.socket, str]:
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError("no such host", url.host, again=True) from error
    addresses = [str(entry[4][0]) for entry in found]
    if not bounds.allow_private:
        refused = [address for address in addresses if not is_public(address)]
        if refused:  # one private answer among public ones is how rebinding begins
            raise FetchError("private address", f"{url.host} is {refused[0]}")
    problem: OSError | None = None
    for family, kind, protocol, _, target in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            sock.connect(target)
            if url.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=url.host)
            return sock, str(target[0])
        except OSError as error:
            sock.close()
            problem = error
    if isinstance(problem, ssl.SSLError):
        raise FetchError("bad certificate or TLS", str(problem)[:200])
    raise FetchError("no connection", str(problem)[:200], again=True)


def _request(url: Url) -> bytes:
    lines = (
        f"GET {url.target} HTTP/1.1",
        f"Host: {url.place}",
        f"User-Agent: {USER_AGENT}",
        "Accept: text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
        "Accept-Encoding: gzip",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _body(response: http.client.HTTPResponse, coding: str, most: int) -> bytes:
    coding = coding.strip().lower()
    if coding not in ("", "identity") and coding not in _CODINGS:
        raise FetchError("unknown content encoding", coding[:40])
    unfold: Any = zlib.decompressobj(_CODINGS[coding]) if coding in _CODINGS else None
    parts: list[bytes] = []
    size = 0
    while data := response.read1(_READ):
        while data:
            plain = unfold.decompress(data, most + 1 - size) if unfold else data
            data = unfold.unconsumed_tail if unfold else b""
            parts.append(plain)
            size += len(plain)
            if size > most:
                raise FetchError("too large", f"more than {most} bytes")
    if response.length:
        raise FetchError("connection lost", f"{response.length} bytes are missing", again=True)
    if unfold and size and not unfold.eof:
        raise FetchError("bad HTTP answer", "the gzip stream is cut", again=True)
    return b"".join(parts)


class _Timed(io.RawIOBase):
    """The reading side of a socket under one deadline, however slowly the bytes drip. http.client calls makefile."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _READ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)
