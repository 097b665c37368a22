"""Records of web archives (WARC 0.17 to 1.1, ISO 28500), plain or gzip, streamed; memory is one record.

A record is: version line, header lines, an empty line, Content-Length bytes, two empty lines. A damaged record is one
Drop; reading goes on at the next member (gzip) or the next version line (plain).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.members import Compressed, chunks, next_member, skip_padding
from ownlm.data.walk import open_regular
from ownlm.records import Drop

_MOST_HEADER = 1 << 18
_BLOCK = 1 << 20
_VERSION = b"WARC/"
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Record:
    offset: int  # of the record (plain) or of its gzip member
    headers: dict[str, str]  # names in lower case; of repeated ones the last
    block: bytes


class _Plain:
    """Bytes taken from an iterator of chunks; `at` is how far `data` has been used."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self.data, self.at = b"", 0
        self.taken = 0  # bytes handed over by the source so far

    def more(self) -> bool:
        block = next(self._source, b"")
        self.data, self.at = (self.data[self.at :] + block if self.at < len(self.data) else block), 0
        self.taken += len(block)
        return bool(block)

    @property
    def position(self) -> int:
        return self.taken - len(self.data) + self.at

    def skip_blank(self) -> bool:
        """Over empty lines; False at the end."""
        while True:
            while self.at < len(self.data) and self.data[self.at] in b"\r\n":
                self.at += 1
            if self.at < len(self.data):
                return True
            if not self.more():
                return False

    def head(self) -> bytes | None:
        """The header lines up to the empty line, which is taken too; None at the end."""
        if not self.skip_blank():
            return None
        searched = 0
        while True:
            found = END_OF_HEAD.search(self.data, self.at + searched)
            if found:
                head, self.at = self.data[self.at : found.start()], found.end()
                return head
            searched = max(0, len(self.data) - self.at - 3)
            if searched > _MOST_HEADER:
                self.at = len(
                    self.data
                )  # search goes on after it: looking at it again would take quadratic time
                raise Unusable(f"bad record: its header is longer than {_MOST_HEADER} bytes")
            if not self.more():
                self.at = len(self.data)
                raise Unusable("truncated record: it ends in the header")

    def body(self, length: int, most: int) -> bytes | None:
        """`length` bytes, or None after passing over them when they are more than `most`."""
        if length <= len(self.data) - self.at:
            self.at += length
            return self.data[self.at - length : self.at] if length <= most else None
        pieces, missing = [], length
        while missing:
            if self.at == len(self.data) and not self.more():
                raise Unusable("truncated record: shorter than its Content-Length")
            piece = self.data[self.at : self.at + missing]
            self.at += len(piece)
            missing -= len(piece)
            if length <= most:
                pieces.append(piece)
        return b"".join(pieces) if length <= most else None


def records(
    file: IO[bytes], compression: str, name: str, limits: Limits, start: int = 0, end: int = -1
) -> Iterator[Record | Drop]:
    """Records that begin in [start, end) of an open file that is positioned at `start`."""
    if compression == "gz":
        yield from _members(Compressed(file, start), name, limits, end)
    else:
        yield from _plain(file, name, limits, start, end)


def _members(source: Compressed, name: str, limits: Limits, end: int) -> Iterator[Record | Drop]:
    while skip_padding(source) and not 0 <= end <= source.offset:
        offset = source.offset
        try:
            plain = _Plain(chunks(source, limits))
            while (record := _record(plain, offset, name, limits)) is not None:
                yield record
        except Unusable as error:
            yield Drop(f"{name}@{offset}", "read", str(error))
            if not next_member(source):
                return


def _plain(file: IO[bytes], name: str, limits: Limits, start: int, end: int) -> Iterator[Record | Drop]:
    plain = _Plain(iter(lambda: file.read(_BLOCK), b""))
    while plain.skip_blank() and not 0 <= end <= start + plain.position:
        offset = start + plain.position
        try:
            record = _record(plain, offset, name, limits)
            if record is not None:
                yield record
        except Unusable as error:
            yield Drop(f"{name}@{offset}", "read", str(error))
            if not _next_version(plain):
                return


def _next_version(plain: _Plain) -> bool:
    """Go to the next line that begins a record."""
    while True:
        found = plain.data.find(b"\n" + _VERSION, plain.at)
        if found >= 0:
            plain.at = found + 1
            return True
        plain.at = max(plain.at, len(plain.data) - len(_VERSION))
        if not plain.more():
            return False


def _record(plain: _Plain, offset: int, name: str, limits: Limits) -> Record | Drop | None:
    head = plain.head()
    if head is None:
        return None
    headers = parse_headers(head)
    length = _length(headers)
    block = plain.body(length, limits.file_bytes)
    if block is None:
        reason = f"too large: more than {limits.file_bytes} bytes"
        return Drop(headers.get("warc-target-uri", f"{name}@{offset}"), "read", reason)
    return Record(offset, headers, block)


def _length(headers: dict[str, str]) -> int:
    stated = headers.get("content-length", "")
    if not (stated.isascii() and stated.isdigit() and len(stated) < 16):
        raise Unusable(f"bad record: Content-Length is {stated[:40]!r}")
    return int(stated)


def parse_headers(head: bytes) -> dict[str, str]:
    """Raises Unusable when the first line is no WARC version."""
    if not head.startswith(_VERSION):
        raise Unusable("bad record: it does not begin with WARC/")
    lines = head.decode("utf-8", "replace").split("\n")
    return header_fields(lines[1:])


def header_fields(lines: list[str]) -> dict[str, str]:
    """`Name: value` lines, folded ones joined; lines without a colon are passed over, as browsers do."""
    headers: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t") and name:
            headers[name].append(line.strip())
            continue
        key, colon, value = line.partition(":")
        if colon:
            name = key.strip().lower()
            headers[name] = [value.strip()]
    return {name: " ".join(values) for name, values in headers.items()}


def starts(path: Path, compression: str) -> Iterator[int]:
    """Offsets at which reading can begin. Ends before the first damaged place; the last part reads past it."""
    limits = Limits()
    try:
        with open_regular(path) as file:
            if compression == "gz":
                yield from _member_starts(Compressed(file), limits)
            else:
                yield from _plain_starts(file)
    except (Unusable, OSError):
        return  # met again, and reported, by the part that reads it


def _member_starts(source: Compressed, limits: Limits) -> Iterator[int]:
    while skip_padding(source):
        yield source.offset
        for _ in chunks(source, limits):
            pass


def _plain_starts(file: IO[bytes]) -> Iterator[int]:
    """By jumping from header to header; a record that claims more than there is ends the search."""
    offset, size = 0, file.seek(0, 2)
    while offset < size:
        file.seek(offset)
        plain = _Plain(iter(lambda: file.read(1 << 12), b""))
        if not plain.skip_blank():
            return
        begin = offset + plain.position
        head = plain.head()
        yield begin
        offset += plain.position + _length(parse_headers(head or b""))
