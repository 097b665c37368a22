"""The members of an office file (a zip archive), read within limits and never written anywhere.

Refused: more members than archive_files, encryption, compression other than deflate, and unfolding past file_bytes in
all or past `ratio`. Names are keys, never paths, so a `../` in one means nothing.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib

from ownlm.data.limits import Limits, Unusable

_ENTRY = b"PK\x01\x02"


class Archive:
    """Raises Unusable when the bytes are no archive that can be read."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        if data.startswith(b"\xd0\xcf\x11\xe0"):
            raise Unusable("encrypted or older binary office file")
        if data.count(_ENTRY) > limits.archive_files:  # before a list of them is made
            raise Unusable(f"archive with more than {limits.archive_files} files")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (
            zipfile.BadZipFile,
            ValueError,
            NotImplementedError,
            OverflowError,
            EOFError,
            OSError,
        ) as error:
            raise Unusable(f"damaged archive: {error}"[:200]) from error
        self._limits, self._size = limits, len(data)
        self._left = limits.file_bytes
        self.names = set(self._zip.namelist())

    def read(self, name: str) -> bytes:
        """Raises Unusable when there is no such member, it is damaged, or it unfolds too far."""
        if name not in self.names:
            raise Unusable(f"no {name[:60]} in the archive")
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise Unusable("encrypted archive")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unusable("compression method of the archive is not read")
        most = max(self._limits.ratio_free_bytes, self._limits.ratio * self._size)
        try:
            with self._zip.open(info) as member:
                data = member.read(min(self._left, most) + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise Unusable(f"damaged archive: {error}"[:200]) from error
        if len(data) > most:
            raise Unusable(f"decompression bomb: unfolds more than {self._limits.ratio} times")
        if len(data) > self._left:
            raise Unusable(f"decompression limit: more than {self._limits.file_bytes} bytes")
        self._left -= len(data)
        return data


def relative(base: str, target: str) -> str:
    """The member that a relationship of `base` points at: `xl/workbook.xml`, `worksheets/a.xml` -> its full name."""
    if target.startswith("/"):
        return target.lstrip("/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), target))
