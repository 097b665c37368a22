"""The sizes of the row groups of a Parquet file, from its footer alone, without the Parquet library.

Only as much of Thrift's compact protocol as is needed to walk over FileMetaData (parquet.thrift): field 4 is the list
of row groups, whose field 2 is total_byte_size. Reading it here keeps the library, which is native code, out of the
process that plans the work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ownlm.data.limits import Unusable
from ownlm.data.walk import open_regular

_MOST_FOOTER = 256 << 20
_MOST_DEPTH = 32
_STRUCT, _LIST, _SET, _MAP, _BINARY, _DOUBLE = 12, 9, 10, 11, 8, 7


def row_group_bytes(path: Path) -> list[int]:
    """Uncompressed bytes of each row group. Raises Unusable when the footer is damaged, OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size < 12:
            raise Unusable("damaged Parquet file: too short")
        file.seek(size - 8)
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] == b"PARE":
            raise Unusable("encrypted Parquet file")
        if tail[4:] != b"PAR1" or length > min(size - 12, _MOST_FOOTER):
            raise Unusable("damaged Parquet file: no footer")
        file.seek(size - 8 - length)
        try:
            return _Footer(file.read(length)).groups()
        except IndexError as error:
            raise Unusable("damaged Parquet file: footer cut short") from error


class _Footer:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def groups(self) -> list[int]:
        sizes: list[int] = []
        for number, kind in self._fields():
            if number == 4 and kind == _LIST:
                count, element = self._list_header()
                if element != _STRUCT:
                    raise Unusable("damaged Parquet file: row groups are not structures")
                sizes = [self._group() for _ in range(count)]
            else:
                self._skip(kind, 0)
        return sizes

    def _group(self) -> int:
        size = 0
        for number, kind in self._fields():
            if number == 2 and kind == 6:  # i64
                size = max(0, self._zigzag())
            else:
                self._skip(kind, 0)
        return size

    def _fields(self) -> Iterator[tuple[int, int]]:
        """(number, kind) of each field of the structure that begins here; the caller reads or skips its value."""
        number = 0
        while True:
            head = self._byte()
            if head == 0:
                return
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            yield number, head & 15

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise Unusable("damaged Parquet file: endless number")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _list_header(self) -> tuple[int, int]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self.data) - self.at:
            raise Unusable("damaged Parquet file: list longer than the footer")
        return count, head & 15

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise Unusable("damaged Parquet file: footer nested too deep")
        if kind == 3:
            self.at += 1
        elif 4 <= kind <= 6:
            self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            length = self._varint()  # reading it moves `at`
            self.at += length
        elif kind in (_LIST, _SET):
            count, element = self._list_header()
            for _ in range(count):
                self._skip_element(element, depth)
        elif kind == _MAP:
            self._skip_map(depth)
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner, depth + 1)
        elif kind not in (1, 2):  # true and false carry no value
            raise Unusable("damaged Parquet file: unknown type in the footer")

    def _skip_element(self, kind: int, depth: int) -> None:
        if kind in (1, 2):  # inside a list a truth value takes a byte
            self.at += 1
        else:
            self._skip(kind, depth + 1)

    def _skip_map(self, depth: int) -> None:
        count = self._varint()
        if not count:
            return
        if count > len(self.data) - self.at:
            raise Unusable("damaged Parquet file: map longer than the footer")
        kinds = self._byte()
        for _ in range(count):
            self._skip_element(kinds >> 4, depth)
            self._skip_element(kinds & 15, depth)
