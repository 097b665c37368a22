"""The gzip members of a web archive one by one, with their offsets, and a way on after a damaged one.

A web archive compresses each record as its own member (WARC 1.1, annex D), so a member's offset is where reading can
begin. What follows damage is found again by the magic bytes of a member that unfolds to a record's first line.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO

from ownlm.data.limits import Limits, Unusable

_FEED = 1 << 15  # compressed bytes taken at once
_OUT = 1 << 20  # most bytes that one step of inflating gives
_WRAPPER = 31  # zlib's wbits for a gzip member, checksum verified
_MAGIC = b"\x1f\x8b\x08"
_RECORD = b"WARC/"
_PROBE = 1 << 12


class Compressed:
    """Compressed bytes with a position; works on streams that cannot seek."""

    def __init__(self, file: IO[bytes], offset: int = 0) -> None:
        self._file = file
        self.offset = offset  # in the file, of the first byte of `data`
        self.data = b""

    def more(self) -> bool:
        block = self._file.read(_FEED)
        self.data += block
        return bool(block)

    def used(self, rest: bytes) -> None:
        """Everything but `rest` was consumed."""
        self.offset += len(self.data) - len(rest)
        self.data = rest


def chunks(source: Compressed, limits: Limits) -> Iterator[bytes]:
    """The unfolded bytes of the member that begins here. Raises Unusable for damage, a cut, or a bomb."""
    member = zlib.decompressobj(_WRAPPER)
    begin, out = source.offset, 0
    try:
        while not member.eof:
            data = member.unconsumed_tail or source.data
            if not data:
                if not source.more():
                    raise Unusable("truncated compressed file")
                continue
            source.data = data
            plain = member.decompress(data, _OUT)
            source.used(member.unused_data if member.eof else member.unconsumed_tail)
            if plain:
                out += len(plain)
                if out > limits.ratio_free_bytes and out > limits.ratio * (source.offset - begin):
                    raise Unusable(f"decompression bomb: unfolds more than {limits.ratio} times")
                yield plain
    except zlib.error as error:
        raise Unusable(f"damaged compressed file: {error}") from error


def skip_padding(source: Compressed) -> bool:
    """Over zero bytes between members; False at the end of the file."""
    while True:
        source.used(source.data.lstrip(b"\0"))
        if source.data:
            return True
        if not source.more():
            return False


def next_member(source: Compressed) -> bool:
    """After damage: go to the next member that begins a record. False when none follows."""
    source.used(source.data[1:])
    while True:
        at = source.data.find(_MAGIC)
        while at >= 0:
            if len(source.data) - at < _PROBE:
                source.more()
            if _begins_record(source.data[at : at + _PROBE]):
                source.used(source.data[at:])
                return True
            at = source.data.find(_MAGIC, at + 1)
        source.used(source.data[-2:])
        if not source.more():
            return False


def _begins_record(data: bytes) -> bool:
    try:
        return zlib.decompressobj(_WRAPPER).decompress(data, 16).startswith(_RECORD)
    except zlib.error:
        return False
