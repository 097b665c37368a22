"""WARC 1.1 (ISO 28500), one gzip member per record: warcinfo, then request and response of every page.

The file grows by whole record groups, each synced before the frontier notes the new length. After a crash the file is
cut back to the length that the frontier knows: no half record, and no record of a page that counts as not fetched.

The stored response is the decoded one. The headers that described its transport are kept under their names with the
prefix X-Crawler-, and Content-Length is that of what is stored, as Common Crawl does it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ownlm.data.crawl.fetch import USER_AGENT, Reply
from ownlm.runtime.files import fsync_dir, machine_error

_TRANSPORT = frozenset({"transfer-encoding", "content-encoding", "content-length"})


class WarcFile:
    """An append-only file. `length` is its size in bytes after the last complete group."""

    def __init__(self, path: Path, length: int) -> None:
        """Opens or creates; cuts what lies behind `length`. Raises MachineError when the disk refuses."""
        self.path = path
        try:
            self._file = open(path, "ab")  # noqa: SIM115  (closed by close)
            if self._file.tell() > length:
                self._file.truncate(length)
            self.length = min(length, self._file.tell())
            fsync_dir(path.parent)
        except OSError as error:
            raise machine_error(error, f"opening {path}") from error
        if self.length == 0:
            self._append([_record("warcinfo", _info(path.name), {"Content-Type": "application/warc-fields"})])

    def add(self, url: str, reply: Reply) -> int:
        """Append request and response; the new length, to be noted by the frontier."""
        return self._append(records(url, reply))

    def close(self) -> None:
        self._file.close()

    def _append(self, group: Sequence[bytes]) -> int:
        data = b"".join(map(_member, group))
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise machine_error(error, f"writing {self.path}") from error
        self.length += len(data)
        return self.length


def records(url: str, reply: Reply) -> list[bytes]:
    date = datetime.fromtimestamp(reply.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shared = {"WARC-Target-URI": url, "WARC-Date": date, "WARC-IP-Address": reply.address.partition("%")[0]}
    head = [f"HTTP/1.1 {reply.status} {_line(reply.reason)}"]
    for name, value in reply.headers:
        prefix = "X-Crawler-" if name.lower() in _TRANSPORT else ""
        head.append(f"{prefix}{_line(name)}: {_line(value)}")
    head.append(f"Content-Length: {len(reply.body)}")
    block = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace") + reply.body
    response = _identifier()
    return [
        _record(
            "response",
            block,
            {**shared, "WARC-Record-ID": response, "WARC-Payload-Digest": _digest(reply.body),
             "Content-Type": "application/http; msgtype=response"},
        ),
        _record(
            "request",
            reply.sent,
            {**shared, "WARC-Concurrent-To": response, "Content-Type": "application/http; msgtype=request"},
        ),
    ]  # fmt: skip


def _info(name: str) -> bytes:
    fields = {
        "software": USER_AGENT,
        "format": "WARC File Format 1.1",
        "filename": name,
        "robots": "obeyed (RFC 9309), do-not-train signals obeyed",
    }
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()


def _record(kind: str, block: bytes, fields: dict[str, str]) -> bytes:
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = {
        "WARC-Type": kind, "WARC-Record-ID": _identifier(), "WARC-Date": date, **fields,
        "WARC-Block-Digest": _digest(block), "Content-Length": str(len(block)),
    }  # fmt: skip
    lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
    return b"WARC/1.1\r\n" + lines.encode() + b"\r\n" + block + b"\r\n\r\n"


def _member(record: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(record) + packer.flush()


def _identifier() -> str:
    return f"<urn:uuid:{uuid.uuid4()}>"


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _line(text: str) -> str:
    """A header value on one line: folded lines of a server must not begin a line of ours."""
    return " ".join(text.split())
