"""The header of a GGUF v3 (or v2) file: metadata and where each tensor lies. Nothing in it is trusted.

Layout (little-endian): "GGUF" | u32 version | u64 tensors | u64 keys | keys | tensor descriptions | padding | data.
Every count and length is compared, as a Python integer, with what is left of the file before anything is read or
allocated. Tensor data is not read here: TensorInfo says where it is.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.errors import ArtifactError

MAX_DIMENSIONS, MAX_ALIGNMENT = 8, 4096
MAX_KEYS, MAX_TENSORS = 1 << 16, 1 << 18
MAX_NAME, MAX_STRINGS = 1 << 12, 1 << 21  # bytes of a key or tensor name; strings of one array

# ggml type number -> (name, values per block, bytes per block), as in ggml.h
GGML_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}  # fmt: skip
_SCALARS: dict[int, str] = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "|b1", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
_BOOL, _STRING, _ARRAY = 7, 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    shape: tuple[
        int, ...
    ]  # row-major, as NumPy and PyTorch count: the last dimension lies next to each other
    ggml_type: int  # key of GGML_TYPES
    offset: int  # bytes from the beginning of the file
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    version: int
    metadata: dict[str, Any]  # numbers, bools, str, list[str], or one-dimensional NumPy arrays
    tensors: dict[str, TensorInfo]
    data_start: int  # bytes from the beginning of the file
    alignment: int


def read_header(path: Path | str) -> Header:
    """Raises ArtifactError naming the file and the field for whatever is damaged, unknown or out of bounds."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if path.stat().st_size < 24:
                raise _wrong(path.name, "header", f"a file of {path.stat().st_size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path.name).header()
    except OSError as error:
        raise ArtifactError("A GGUF file cannot be read.", f"{path}: {error.strerror}", _FIX) from error


_FIX = "take the file from where it came from again; ownlm reads little-endian GGUF versions 2 and 3"


def _wrong(file: str, field: str, values: str) -> ArtifactError:
    return ArtifactError(
        "A GGUF file is damaged or of a kind that is not supported.", f"{file}: {field}: {values}", _FIX
    )


class _Reader:
    def __init__(self, data: mmap.mmap, file: str) -> None:
        self.data, self.file, self.at, self.size = data, file, 0, len(data)

    def wrong(self, field: str, values: str) -> ArtifactError:
        return _wrong(self.file, field[:80], f"{values[:120]} (byte {self.at})")

    def take(self, count: int, field: str) -> bytes:
        if count > self.size - self.at:
            raise self.wrong(field, f"{count} bytes are wanted, {self.size - self.at} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str, field: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form), field))[0]
        return value

    def count(self, limit: int, field: str) -> int:
        value = self.number("<Q", field)
        if value > limit:
            raise self.wrong(field, f"{value}, more than {limit}")
        return value

    def string(self, field: str, limit: int) -> str:
        raw = self.take(self.count(limit, field), field)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.wrong(field, f"not UTF-8: {raw[:40]!r}") from error

    def header(self) -> Header:
        if self.take(4, "magic") != b"GGUF":
            raise self.wrong("magic", f"{self.data[:4]!r}, not b'GGUF'")
        version = self.number("<I", "version")
        if version not in (2, 3):
            raise self.wrong("version", str(version))
        num_tensors = self.count(MAX_TENSORS, "tensor count")
        num_keys = self.count(MAX_KEYS, "key count")
        metadata: dict[str, Any] = {}
        for n in range(num_keys):
            key = self.string(f"key {n}", MAX_NAME)
            if not key or key in metadata:
                raise self.wrong(f"key {n}", f"{key!r} is empty or given twice")
            metadata[key] = self.value(self.number("<I", key), key)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise self.wrong(
                "general.alignment", f"{str(alignment)[:40]} is no power of two from 8 to {MAX_ALIGNMENT}"
            )
        described = [self.tensor(n) for n in range(num_tensors)]
        start = -(-self.at // alignment) * alignment
        return Header(version, metadata, self.placed(described, start, alignment), start, alignment)

    def value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self.string(key, self.size - self.at)
        if kind == _ARRAY:
            return self.array(key)
        if kind not in _SCALARS:
            raise self.wrong(key, f"value type {kind}")
        raw = self.take(np.dtype(_SCALARS[kind]).itemsize, key)
        if kind == _BOOL and raw not in (b"\0", b"\1"):
            raise self.wrong(key, f"{raw!r} is neither true nor false")
        return np.frombuffer(raw, dtype=_SCALARS[kind])[0].item()

    def array(self, key: str) -> list[str] | np.ndarray:
        kind, left = self.number("<I", key), self.size - self.at
        if kind == _STRING:
            return self.strings(self.count(min(MAX_STRINGS, left // 8), key), key)
        if kind not in _SCALARS:
            raise self.wrong(key, f"an array of value type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        raw = self.take(self.count(left // dtype.itemsize, key) * dtype.itemsize, key)
        if kind == _BOOL and raw.strip(b"\0\1"):
            raise self.wrong(key, "a value that is neither true nor false")
        return np.frombuffer(raw, dtype=dtype)

    def strings(self, count: int, key: str) -> list[str]:
        """The inner loop of a vocabulary: the same checks as `string`, written flat."""
        data, at, size, out = self.data, self.at, self.size, []
        unpack = struct.Struct("<Q").unpack_from
        for n in range(count):
            if size - at < 8:
                raise self.wrong(f"{key}[{n}]", "cut off")
            length = unpack(data, at)[0]
            at += 8
            if length > size - at:
                raise self.wrong(f"{key}[{n}]", f"{length} bytes are wanted, {size - at} are left")
            try:
                out.append(data[at : at + length].decode("utf-8"))
            except UnicodeDecodeError as error:
                raise self.wrong(f"{key}[{n}]", "not UTF-8") from error
            at += length
        self.at = at
        return out

    def tensor(self, n: int) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, type, offset within the data)."""
        name = self.string(f"tensor {n}", MAX_NAME)
        dimensions = self.number("<I", name)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self.wrong(name, f"{dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")
        sizes = struct.unpack(f"<{dimensions}Q", self.take(8 * dimensions, name))
        kind, offset = self.number("<I", name), self.number("<Q", name)
        if kind not in GGML_TYPES:
            raise self.wrong(name, f"tensor type {kind}")
        if 0 in sizes or sizes[0] % GGML_TYPES[kind][1]:
            raise self.wrong(name, f"shape {sizes[::-1]} in blocks of {GGML_TYPES[kind][1]}")
        return name, sizes[::-1], kind, offset

    def placed(
        self, described: Sequence[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int
    ) -> dict[str, TensorInfo]:
        """Tensors follow each other in the order of their descriptions, padded to the alignment, as llama.cpp demands:
        so there is neither overlap nor hole."""
        tensors: dict[str, TensorInfo] = {}
        expected = 0
        for name, shape, kind, offset in described:
            _, values, width = GGML_TYPES[kind]
            num_bytes = math.prod(shape) // values * width
            if not name or name in tensors:
                raise self.wrong(name or "tensor name", "empty or given twice")
            if offset != expected or start + offset + num_bytes > self.size:
                raise self.wrong(
                    name,
                    f"{num_bytes} bytes at {offset}; {expected} is free, the file has {max(0, self.size - start)}",
                )
            tensors[name] = TensorInfo(shape, kind, start + offset, num_bytes)
            expected = -(-(offset + num_bytes) // alignment) * alignment
        return tensors
