"""Numbers of a GGUF file as float32: the block formats of ggml (ggml-quants.c), undone in NumPy.

A block holds 32 or 256 neighbouring values of a row; d and m are float16, a nibble is 4 bits. In the formats of 32
the low nibbles are values 0 to 15 and the high ones 16 to 31; `+ bit` is one more bit on top of the nibble:

    Q8_0  d | 32 signed bytes                       d * byte
    Q4_0  d | 16 bytes of nibbles                   d * (nibble - 8)
    Q4_1  d m | 16 bytes                            d * nibble + m
    Q5_0  d | 32 bits | 16 bytes                    d * (nibble + bit - 16)
    Q5_1  d m | 32 bits | 16 bytes                  d * (nibble + bit) + m
    Q4_K  d m | 12 bytes: 8 scales and 8 minima of 6 bits, one pair for 32 values | 128 bytes
                                                    d * scale * nibble - m * minimum
    Q5_K  as Q4_K, 256 bits before the nibbles      d * scale * (nibble + bit) - m * minimum
    Q6_K  128 bytes of nibbles | 64 bytes of 2 bits more | 16 signed scales, one for 16 values | d
                                                    d * scale * (6 bits - 32)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ownlm.errors import ArtifactError
from ownlm.runtime.gguf import GGML_TYPES, TensorInfo

Array = np.ndarray
"""A block array is uint8 [blocks, bytes per block]."""


def _half(blocks: Array, at: int) -> Array:
    """The float16 at byte `at` of each block: float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _signed(blocks: Array) -> Array:
    return np.ascontiguousarray(blocks).view(np.int8).astype(np.float32)


def _nibbles(packed: Array) -> Array:
    """[..., n] bytes -> [..., 2n]: all low halves, then all high ones."""
    return np.concatenate((packed & 15, packed >> 4), axis=-1)


def _bits(packed: Array) -> Array:
    """[blocks, n] bytes -> [blocks, 8n] bits, lowest first, worth 16 each."""
    return np.unpackbits(packed, axis=1, bitorder="little") << 4


def _q8_0(blocks: Array) -> Array:
    values: Array = _half(blocks, 0) * _signed(blocks[:, 2:])
    return values


def _q4_0(blocks: Array) -> Array:
    values: Array = _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)
    return values


def _q4_1(blocks: Array) -> Array:
    values: Array = _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)
    return values


def _q5_0(blocks: Array) -> Array:
    five = (_nibbles(blocks[:, 6:]) | _bits(blocks[:, 2:6])).astype(np.float32)
    values: Array = _half(blocks, 0) * (five - 16)
    return values


def _q5_1(blocks: Array) -> Array:
    five = (_nibbles(blocks[:, 8:]) | _bits(blocks[:, 4:8])).astype(np.float32)
    values: Array = _half(blocks, 0) * five + _half(blocks, 2)
    return values


def _scales_and_minima(packed: Array) -> tuple[Array, Array]:
    """12 bytes -> two float32 [blocks, 8]: the first four of each in the low 6 bits of bytes 0-3 and 4-7, the others
    in the nibbles of bytes 8-11 and the 2 bits that are left over in bytes 0-7."""
    a, b, c = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate((a & 63, (c & 15) | (a >> 6 << 4)), axis=1)
    minima = np.concatenate((b & 63, (c >> 4) | (b >> 6 << 4)), axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _pairs_of_32(blocks: Array, values: Array) -> Array:
    """Q4_K and Q5_K: whole numbers [blocks, 8, 32] -> [blocks, 256]."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    steps, offsets = _half(blocks, 0) * scales, _half(blocks, 2) * minima  # [blocks,8]
    found: Array = (steps[:, :, None] * values.astype(np.float32) - offsets[:, :, None]).reshape(-1, 256)
    return found


def _q4_k(blocks: Array) -> Array:
    return _pairs_of_32(blocks, _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32))


def _q5_k(blocks: Array) -> Array:
    nibbles = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    places = np.arange(8, dtype=np.uint8)[None, :, None]  # bit j of a byte belongs to the j-th 32 values
    return _pairs_of_32(blocks, nibbles | ((blocks[:, None, 16:48] >> places & 1) << 4))


def _q6_k(blocks: Array) -> Array:
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    places = np.array([0, 2, 4, 6], dtype=np.uint8)[None, None, :, None]
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> places & 3
    six = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - 32
    scales = _half(blocks, 208) * _signed(blocks[:, 192:208])  # [blocks,16]
    found: Array = (scales[:, :, None] * six).reshape(-1, 256)
    return found


def _bf16(blocks: Array) -> Array:
    """A bfloat16 is the upper half of a float32."""
    return (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)


READERS: dict[str, Callable[[Array], Array]] = {
    "F32": lambda blocks: np.ascontiguousarray(blocks).view("<f4").astype(np.float32),
    "F16": lambda blocks: np.ascontiguousarray(blocks).view("<f2").astype(np.float32),
    "BF16": _bf16,
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
"""Tensor types that are read: uint8 [blocks, bytes per block] -> float32 [blocks, values per block]."""


def read_tensor(path: Path, name: str, info: TensorInfo) -> Array:
    """float32 of info.shape. Raises ArtifactError for types that are not in READERS."""
    kind, _, width = GGML_TYPES[info.ggml_type]
    if kind not in READERS:
        raise ArtifactError("A tensor has a type that ownlm does not read.", f"{path}: {name} is {kind}",
                            f"ownlm reads {', '.join(READERS)}; take another file of this model")  # fmt: skip
    raw = np.fromfile(path, dtype=np.uint8, count=info.num_bytes, offset=info.offset)
    if raw.size != info.num_bytes:
        raise ArtifactError("A GGUF file ended while it was read.", f"{path}: {name}", "copy it again")
    return READERS[kind](raw.reshape(-1, width)).reshape(info.shape)
