"""The wire format of Protocol Buffers, as much of it as files need; every length is checked against what is there."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ownlm.errors import ArtifactError

Value = int | float | bytes


def _cut(where: str, at: int, what: str) -> ArtifactError:
    return ArtifactError(
        "A tokenizer file is damaged.", f"{where}: byte {at}: {what}", "take the file from where it came from"
    )


def fields(data: bytes, where: str) -> Iterator[tuple[int, Value]]:
    """(field number, value) in order: whole numbers, float32, float64 (as float) or bytes. Raises ArtifactError."""
    at, size = 0, len(data)
    while at < size:
        key, at = _varint(data, at, where)
        number, kind = key >> 3, key & 7
        if not 1 <= number < 1 << 29:
            raise _cut(where, at, f"field number {number}")
        value: Value
        if kind == 0:
            value, at = _varint(data, at, where)
        elif kind in (1, 5):
            width, form = (8, "<d") if kind == 1 else (4, "<f")
            if at + width > size:
                raise _cut(where, at, f"field {number} is cut off")
            value = struct.unpack_from(form, data, at)[0]
            at += width
        elif kind == 2:
            length, at = _varint(data, at, where)
            if length > size - at:
                raise _cut(where, at, f"field {number} of {length} bytes, {size - at} are left")
            value = data[at : at + length]
            at += length
        else:
            raise _cut(where, at, f"field {number} has the wire type {kind}")
        yield number, value


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _cut(where, at, "the file ends within a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise _cut(where, at, "a number of more than 64 bits")


def number(field: int, value: int) -> bytes:
    """A varint field; negative values take ten bytes, as int32 does."""
    return _written(field << 3) + _written(value & (1 << 64) - 1)


def real(field: int, value: float) -> bytes:
    """A float32 field."""
    return _written(field << 3 | 5) + struct.pack("<f", value)


def message(field: int, data: bytes) -> bytes:
    """A field of bytes, text or an inner message."""
    return _written(field << 3 | 2) + _written(len(data)) + data


def _written(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
