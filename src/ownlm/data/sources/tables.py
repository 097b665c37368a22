"""Rows of CSV files as JSON rows, and the first bytes of a stream as a stream."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import IO, Any

from ownlm.data.encoding import decode, is_binary
from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources.source import Unit
from ownlm.records import Drop

_SAMPLE = 1 << 16
_DELIMITERS = ",\t;|"


class _First(io.RawIOBase):
    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._left = file, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def first_bytes(file: IO[bytes], most: int) -> io.BufferedReader:
    """A stream that ends after `most` bytes of `file`."""
    return io.BufferedReader(_First(file, most), 1 << 20)


def csv_units(
    file: io.BufferedReader, name: str, options: Mapping[str, Any], limits: Limits
) -> Iterator[Unit | Drop]:
    """One row unit per data row. The first row names the columns; one of them must be the text key.

    Raises Unusable when it is not, and for a field longer than line_bytes (an unclosed quote makes one).
    """
    head = file.peek(_SAMPLE)[:_SAMPLE]
    if not head.strip():
        raise Unusable("empty")
    if is_binary(head):
        raise Unusable("binary")
    encoding = decode(head[: head.rfind(b"\n") + 1] or head).encoding
    csv.field_size_limit(limits.line_bytes)  # of the whole process
    lines = _lines(io.TextIOWrapper(file, encoding, "replace", newline=""), limits)
    try:
        first = next(lines, "").removeprefix("\ufeff")
        reader = csv.reader(chain((first,), lines), delimiter=max(_DELIMITERS, key=first.count))
        columns = _columns(next(reader, []), options.get("text_key", "text"))
        for number, row in enumerate(reader, 2):
            place = f"{name}#{number}"
            if row and len(row) != len(columns):
                yield Drop(place, "read", f"bad row: {len(row)} fields for {len(columns)} columns")
            elif row:
                data = json.dumps(dict(zip(columns, row, strict=True))).encode()
                yield Unit(place, "row", data, options=options)
    except csv.Error as error:
        raise Unusable(f"bad CSV: {error}") from error


def _columns(names: list[str], text_key: str) -> list[str]:
    if text_key not in names:
        raise Unusable(f"no column `{text_key}`: it has {' '.join(', '.join(names).split())[:150] or 'none'}")
    if len(set(names)) != len(names):
        raise Unusable("duplicate column name")
    return names


def _lines(file: io.TextIOWrapper, limits: Limits) -> Iterator[str]:
    while line := file.readline(limits.line_bytes + 1):
        if len(line) > limits.line_bytes:
            raise Unusable(f"line too long: more than {limits.line_bytes} characters")
        yield line
