"""Bounded reading of .gz, .zst and .bz2: truncation, damage and decompression bombs raise Unusable with a reason.

What came out before the damage is delivered first, so the good rows of a cut file are kept.
"""

from __future__ import annotations

import bz2
import io
import zlib
from typing import IO, Any

import zstandard

from ownlm.data.limits import Limits, Unusable

_GZIP_FEED = 1 << 14  # bytes per call; deflate unfolds at most 1,032 times: 16 MiB
_ZSTD_FEED = 1 << 10  # bytes per call; a zstd block of 4 bytes may unfold to 128 KiB: 32 MiB
_ZSTD_WINDOW = 128 << 20  # largest window accepted: what `zstd -d` accepts by default
_BZ2_FEED = 1 << 14  # a block of 50 bytes may unfold to 46 MB, so the output of a call is bounded as well
_BZ2_OUT = 1 << 20
_GZIP_WRAPPER = 31  # zlib's wbits for a gzip member, checksum verified


class Members(io.RawIOBase):
    """The members (frames) of a compressed file one after the other. Raises EOFError when the last one is cut.

    (zstandard's own stream reader ends silently on a cut file; gzip's loses what came before the cut.)
    """

    def __init__(self, file: IO[bytes], compression: str) -> None:
        self._file = file
        self._gzip = compression == "gz"
        self._bzip = compression == "bz2"
        self._feed = {"gz": _GZIP_FEED, "bz2": _BZ2_FEED}.get(compression, _ZSTD_FEED)
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._member: Any = None
        self._ready = memoryview(b"")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            more = self._bzip and self._member is not None and not self._member.needs_input
            data = b"" if more else self._rest or self._file.read(self._feed)
            if not more:
                self._rest = b""
            if not data and not more:
                if self._member is not None:
                    raise EOFError
                return 0
            if self._member is None:
                data = data.lstrip(b"\0") if self._gzip else data  # zero padding between members is allowed
                if not data:
                    continue
                self._member = self._new_member()
            self._ready = memoryview(
                self._member.decompress(data, _BZ2_OUT) if self._bzip else self._member.decompress(data)
            )
            if self._member.eof:
                self._rest = self._member.unused_data
                self._member = None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _new_member(self) -> Any:
        if self._bzip:
            return bz2.BZ2Decompressor()
        return zlib.decompressobj(_GZIP_WRAPPER) if self._gzip else self._zstd.decompressobj()


class _Guarded(io.RawIOBase):
    """Counts what comes out against what went in, and turns every failure into Unusable."""

    def __init__(self, file: IO[bytes], inner: Any, limits: Limits, most: int) -> None:
        self._file, self._inner, self._limits, self._most = file, inner, limits, most
        self._out = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count: int = self._inner.readinto(buffer)
        except EOFError as error:
            raise Unusable("truncated compressed file") from error
        except (OSError, zlib.error, zstandard.ZstdError) as error:  # bz2 raises OSError without a number
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Unusable(f"damaged compressed file: {error}") from error
        self._out += count
        if self._out > self._most:
            raise Unusable(f"decompression limit: more than {self._most} bytes")
        if self._out > self._limits.ratio_free_bytes and self._out > self._limits.ratio * self._file.tell():
            raise Unusable(f"decompression bomb: unfolds more than {self._limits.ratio} times")
        return count


def opened(file: IO[bytes], compression: str, limits: Limits, most: int) -> IO[bytes]:
    """The plain bytes of an open file; `most` bounds them when the file is compressed."""
    if not compression:
        return file
    return io.BufferedReader(_Guarded(file, Members(file, compression), limits, most), 1 << 20)
