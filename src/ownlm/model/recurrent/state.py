"""What a recurrent mixer keeps between two forwards, and how new tokens meet the borders of its chunks.

Letters: B batch, T time (new tokens), H heads, C head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.place import Cache, DecodeCache


def check_sizes(spec: object, *names: str) -> None:
    """Raises UsageError, naming them all, where a field is no positive integer; None is left to the spec."""
    values = {name: getattr(spec, name) for name in names}
    wrong = [
        f"{name} = {value!r}"
        for name, value in values.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if wrong:
        raise UsageError(f"The sizes of a {type(spec).__name__} must be positive integers.", ", ".join(wrong), "correct them")  # fmt: skip


def kept(cache: Cache | None, layer: int) -> Any:
    """What this layer left behind, None at the start of a text. Raises UsageError for a cache of keys and values."""
    if cache is None:
        return None
    return _states(cache, layer).state(layer)


def keep(cache: Cache | None, layer: int, state: Any) -> None:
    """Leave `state` (tensors, tuples or dicts of them) for the next forward; nothing happens without a cache."""
    if cache is not None:
        _states(cache, layer).keep(layer, state)


def _states(cache: Cache, layer: int) -> DecodeCache:
    if not isinstance(cache, DecodeCache):
        raise UsageError(
            "A recurrent layer keeps a state, and this cache holds only keys and values.",
            f"layer {layer}, cache {type(cache).__name__}",
            "decode this model with model.new_cache()",
        )
    return cache


def pieces(num_tokens: int, offset: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """(first, last + 1, whether a chunk ends there) for new tokens of which the first is number `offset` of a chunk.

    Chunks begin at fixed places of the text, however the text is handed over.
    """
    first = 0
    while first < num_tokens:
        stop = min(num_tokens, first + size - offset)
        full = offset + stop - first == size
        yield first, stop, full
        first, offset = stop, 0


def accurate(x: Tensor) -> Tensor:
    """float32 for half precision, else as it is: sums over a whole text need more than eight bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, H*C] -> [B, H, T, C]."""
    return x.view(*x.shape[:2], num_heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, T, C] -> [B, T, H*C]."""
    return x.transpose(1, 2).flatten(2)
