"""One mixer alone: a whole text at once, or handed over in portions through a cache."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.model.place import DecodeCache, Place
from ownlm.model.position import rope_tables

PORTIONS = [[37], [1] * 37, [5, 1, 1, 16, 14], [30, 7]]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def built(spec: Any, width: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The module with noise in every parameter, so that none is zero or one."""
    torch.manual_seed(0)  # some layers are initialized from the global generator
    module = spec.build(width, 0).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            scale = 0.1 if weight.ndim == 1 else weight.shape[-1] ** -0.5
            weight += scale * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(dtype)
    return module


def place_at(spec: Any, first: int, num_tokens: int) -> Place:
    positions = torch.arange(first, first + num_tokens)[None]
    cos = sin = None
    if getattr(spec, "rope", None) is not None:
        tables = rope_tables(first + num_tokens, spec.rope.dims or spec.head_dim, spec.rope.theta)
        cos, sin = (table[positions].unsqueeze(1) for table in tables)
    return Place(positions, positions, None, cos, sin)


def whole(module: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x, place_at(module.spec, 0, x.shape[1]))  # type: ignore[no-any-return]


def in_portions(module: Any, x: Tensor, sizes: Sequence[int]) -> tuple[Tensor, int]:
    """Outputs, and the bytes that the cache holds afterwards."""
    cache, at, parts = DecodeCache([None]), 0, []
    with torch.no_grad():
        for size in sizes:
            parts.append(module(x[:, at : at + size], place_at(module.spec, at, size), cache))
            at += size
    return torch.cat(parts, dim=1), cache.num_bytes
