"""Tensors out to a safetensors file as a stream: no second copy in memory, and the SHA-256 comes from the same pass.

    8 bytes    length of the header, little-endian
    header     JSON: name -> dtype, shape, [begin, end) in what follows; padded with spaces to a multiple of 8
    data       the tensors without gaps, wide types first so that each begins at a multiple of its width

The library's own `save` builds the whole file in memory first, which a checkpoint of a large model has no room for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.runtime import files

CHUNK_BYTES = 16 << 20  # written and hashed at a time
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip


def write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Durable at `path` on return, whole or not at all; returns its SHA-256 in hex.

    Beyond one tensor that is not contiguous, or not on the CPU, nothing is copied. Raises UsageError for a dtype that
    the format does not have, MachineError when the disk refuses.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    head = _header(order, tensors)
    digest = hashlib.sha256(head)
    with files.open_atomic(path) as file:
        file.write(head)
        for name in order:
            _stream(tensors[name], file.write, digest.update)
    return digest.hexdigest()


def shards(stem: str, tensors: Mapping[str, Tensor], max_bytes: int) -> Iterator[tuple[str, dict[str, Tensor]]]:  # fmt: skip
    """(file name, its tensors): `stem.safetensors`, or several of at most `max_bytes` of data in the given order.

    A tensor that is larger by itself gets a file of its own.
    """
    parts: list[dict[str, Tensor]] = [{}]
    room = max_bytes
    for name, tensor in tensors.items():
        if tensor.nbytes > room and parts[-1]:
            parts.append({})
            room = max_bytes
        parts[-1][name] = tensor
        room -= tensor.nbytes
    for number, part in enumerate(parts, 1):
        suffix = "" if len(parts) == 1 else f"-{number:05d}-of-{len(parts):05d}"
        yield f"{stem}{suffix}.safetensors", part


def _header(order: list[str], tensors: Mapping[str, Tensor]) -> bytes:
    facts: dict[str, object] = {}
    at = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise UsageError(
                "A tensor has a type that safetensors cannot hold.",
                f"{name}: {tensor.dtype}",
                "keep it in one of " + ", ".join(str(dtype) for dtype in DTYPES),
            )
        end = at + math.prod(tensor.shape) * tensor.element_size()
        facts[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(facts, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stream(tensor: Tensor, *into: Callable[[memoryview], object]) -> None:
    """Hand the tensor's bytes, a chunk at a time, to each of `into`."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy().data
    for start in range(0, len(raw), CHUNK_BYTES):
        for take in into:
            take(raw[start : start + CHUNK_BYTES])
