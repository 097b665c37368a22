"""Attention whose scores get a bias by distance in place of positions in the embedding: ALiBi and T5's buckets.

    softmax(scale q k^T + bias(i - j)) v

ALiBi (Press et al. 2021, arXiv:2108.12409): -m (i - j) with a fixed slope m per head. BLOOM's code adds m j instead,
which differs by a constant of each row and so gives the same softmax. T5 (arXiv:1910.10683, section 2.1): a trained
number per head and bucket; the buckets are in t5.py. T5 shares that table among its layers, here each has its own.

Letters: B batch, T time, L keys, D model width, H query heads, K key/value heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import dot_products, weighted_sum
from ownlm.model.attention.scaled_dot_product import allowed
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.t5 import RelativeBias, RelativeBuckets


def alibi_slopes(num_heads: int) -> list[float]:
    """2 ** (-8 h / H) for h = 1 .. H where H is a power of two; else those of the power below, then every second
    one of the power above (the published code, and BLOOM)."""
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    return slopes + [2.0 ** (-4 * h / power) for h in range(1, 2 * (num_heads - power), 2)]


@dataclass(frozen=True, slots=True)
class Alibi:
    """Linear biases; nothing is trained."""

    def build(self, num_heads: int) -> AlibiBias:
        return AlibiBias(num_heads)

    def num_parameters(self, num_heads: int) -> int:
        return 0


class AlibiBias(nn.Module):
    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.slopes = alibi_slopes(num_heads)

    def forward(self, positions: Tensor, keys: Tensor) -> Tensor:
        """positions [B or 1, T], keys [B or 1, L] -> float32 [B or 1, H, T, L]: -slope * |i - j|."""
        slopes = torch.tensor(self.slopes, device=positions.device, dtype=torch.float32)
        distance = (positions[:, :, None] - keys[:, None, :]).abs()
        return -slopes[:, None, None] * distance[:, None]


@dataclass(frozen=True, slots=True)
class T5Bias:
    """A trained number per head and bucket of distance to an earlier key."""

    num_buckets: int = 32
    max_distance: int = 128
    """From here on all distances share the last bucket."""

    def __post_init__(self) -> None:
        self._buckets(1)

    def build(self, num_heads: int) -> RelativeBias:
        return self._buckets(num_heads).build(0)

    def num_parameters(self, num_heads: int) -> int:
        return self._buckets(num_heads).num_parameters(0)

    def _buckets(self, num_heads: int) -> RelativeBuckets:
        return RelativeBuckets(num_heads, self.num_buckets, self.max_distance, bidirectional=False)


@dataclass(frozen=True, slots=True)
class Biased:
    """Grouped-query attention with a position bias."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    bias: Alibi | T5Bias = Alibi()
    scale: float | None = None
    """Of the dot products; None: C ** -0.5. T5 uses 1."""
    window: int | None = None

    def __post_init__(self) -> None:
        if min(self.num_heads, self.num_kv_heads, self.head_dim) < 1 or self.num_heads % self.num_kv_heads:
            raise UsageError("num_heads must be a multiple of num_kv_heads.", str(self), "change one of them")

    def build(self, width: int, layer: int) -> BiasedAttention:
        return BiasedAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + self.bias.num_parameters(self.num_heads)

    def active_parameters(self, width: int) -> int:
        return 2 * width * (self.num_heads + self.num_kv_heads) * self.head_dim

    def mixing_flops(self, context: int) -> int:
        seen = context if self.window is None else min(context, self.window)
        return (4 * self.head_dim + 1) * self.num_heads * seen

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 2 * self.num_kv_heads * self.head_dim * dtype_bytes


class BiasedAttention(Tapped):
    POINTS: ClassVar = {"bias": "B H T L", "pattern": "B H T L", "mixed": "B H T C"}

    def __init__(self, spec: Biased, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
        heads, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.o = nn.Linear(heads, width, bias=False)
        self.position_bias = spec.bias.build(spec.num_heads)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        q, k, v = (m(x).view(B, T, -1, self.spec.head_dim).transpose(1, 2) for m in (self.q, self.k, self.v))
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,K,L,C]
        bias = self.tap("bias", self.position_bias(place.positions, place.keys).to(q.dtype))  # [B or 1,H,T,L]
        mask = allowed(place, T)
        bias = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        if self.watched("pattern"):
            mixed = weighted_sum(self.tap("pattern", (dot_products(q, k) * self.scale + bias).softmax(-1)), v)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True, scale=self.scale)
        mixed = self.tap("mixed", mixed)  # [B,H,T,C]
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out
