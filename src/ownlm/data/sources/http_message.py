"""A stored HTTP response to its status, headers and body, with transfer and content encodings undone (RFC 9112)."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

from ownlm.data.compressed import opened
from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.warc_file import END_OF_HEAD, header_fields

_MOST_HEAD = 1 << 18
OPT_OUTS = (
    "x-robots-tag",
    "tdm-reservation",
    "content-usage",
    "content-signal",
)  # what crawl/signals.py judges


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]  # names in lower case
    raw: bytes  # the body as it was stored: what payload digests are taken of
    body: bytes  # the body without chunks and compression
    opt_outs: dict[str, list[str]]  # every value of the headers in OPT_OUTS, which may be sent several times


def parse(block: bytes, limits: Limits) -> Response:
    """Raises Unusable when this is no HTTP response or its body cannot be unfolded within the limits."""
    if not block.startswith(b"HTTP/"):
        raise Unusable("bad response: it does not begin with HTTP/")
    head, body = split_head(block)
    lines = head.decode("latin-1").split("\n")
    status = lines[0].split(None, 2)[1:2]
    if not status or not (status[0].isascii() and status[0].isdigit() and len(status[0]) == 3):
        raise Unusable(f"bad response: no status in {lines[0][:80]!r}")
    headers = header_fields(lines[1:])
    plain = plain_body(headers, body, limits) if status[0] == "200" else b""
    return Response(int(status[0]), headers, body, plain, _opt_outs(lines[1:]))


def _opt_outs(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() in OPT_OUTS:
            found.setdefault(name.strip().lower(), []).append(value.strip()[:500])
    return found


def split_head(block: bytes) -> tuple[bytes, bytes]:
    """(status line and headers, body)."""
    found = END_OF_HEAD.search(block, 0, _MOST_HEAD)
    return (block[: found.start()], block[found.end() :]) if found else (block, b"")


def plain_body(headers: dict[str, str], body: bytes, limits: Limits) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = dechunked(body)
    for encoding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _decoded(encoding.strip(), body, limits)
    return body


def dechunked(body: bytes) -> bytes:
    """The chunks joined; the body itself when it is not in chunks (crawlers undo them and keep the header).

    A body that ends inside a chunk gives what there is: crawlers cut long pages.
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        line_end = body.find(b"\n", at, at + 4096)
        size = body[at : max(at, line_end)].split(b";", 1)[0].strip()
        try:
            length = int(size, 16) if size.isalnum() and len(size) < 16 else -1
        except ValueError:
            length = -1
        if line_end < 0 or length < 0:
            return b"".join(pieces) if pieces else body
        if length == 0:
            break
        pieces.append(body[line_end + 1 : line_end + 1 + length])
        at = line_end + 1 + length
        at += 2 if body[at : at + 2] == b"\r\n" else 1
    return b"".join(pieces)


def _decoded(encoding: str, body: bytes, limits: Limits) -> bytes:
    """One content encoding undone; a body that is not compressed after all is taken as it is."""
    if encoding in ("", "identity", "none") or not body:
        return body
    if encoding in ("gzip", "x-gzip"):
        return _unfolded(body, "gz", limits) if body.startswith(b"\x1f\x8b") else body
    if encoding == "deflate":
        return _inflated(body, limits)
    if encoding == "zstd":
        return _unfolded(body, "zst", limits) if body.startswith(b"\x28\xb5\x2f\xfd") else body
    raise Unusable(f"content encoding {encoding[:20]}")


def _unfolded(body: bytes, compression: str, limits: Limits) -> bytes:
    return opened(io.BytesIO(body), compression, limits, limits.file_bytes).read()


def _inflated(body: bytes, limits: Limits) -> bytes:
    """`deflate` is zlib by the standard and bare deflate by habit."""
    for wrapper in (15, -15):
        inflater = zlib.decompressobj(wrapper)
        try:
            plain = inflater.decompress(body, limits.file_bytes + 1)
        except zlib.error:
            continue
        if len(plain) > limits.file_bytes:
            raise Unusable(f"decompression limit: more than {limits.file_bytes} bytes")
        return plain
    return body
