"""Differential attention (Ye et al. 2024, arXiv:2410.05258): one softmax minus lambda times another.

    head = (softmax(q1 k1^T / sqrt(C)) - lambda softmax(q2 k2^T / sqrt(C))) v            equation 1
    lambda = exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init,  lambda_init = 0.8 - 0.6 exp(-0.3 (l - 1))    equation 2
    out = o(concat((1 - lambda_init) RMSNorm(head)))      the norm over each head alone          equation 3

l counts layers from 1. What both softmaxes give to irrelevant keys (noise) cancels. A head's v is 2C wide.

Letters: B batch, T time, L keys, D model width, H heads (pairs of softmaxes), K key/value heads, C width of q and k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import dot_products, weighted_sum
from ownlm.model.attention.scaled_dot_product import allowed
from ownlm.model.hooks import Tapped
from ownlm.model.layers import RMSNorm
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate


@dataclass(frozen=True, slots=True)
class Differential:
    """H differential heads; twice as many softmaxes. Equal in parameters to 2H ordinary heads of C."""

    num_heads: int
    """Pairs of softmaxes."""
    num_kv_heads: int
    """Pairs of keys, each with its one value of width 2C."""
    head_dim: int
    """C, of one softmax."""
    rope: Rope | None = None
    window: int | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.num_heads, self.num_kv_heads, self.head_dim) < 1 or self.num_heads % self.num_kv_heads:
            raise UsageError("num_heads must be a multiple of num_kv_heads.", str(self), "change one of them")

    def build(self, width: int, layer: int) -> DifferentialAttention:
        return DifferentialAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + 6 * self.head_dim

    def active_parameters(self, width: int) -> int:
        return 4 * width * (self.num_heads + self.num_kv_heads) * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """Two score rows of C and two weighted sums of 2C per head: the difference is taken after the sums."""
        seen = context if self.window is None else min(context, self.window)
        return 12 * self.num_heads * self.head_dim * seen

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 4 * self.num_kv_heads * self.head_dim * dtype_bytes


def lambda_init(layer: int) -> float:
    """layer counts from 0."""
    return 0.8 - 0.6 * math.exp(-0.3 * layer)


class Lambda(nn.Module):
    """The weight of the second softmax, one number per layer."""

    def __init__(self, head_dim: int, layer: int) -> None:
        super().__init__()
        self.start = lambda_init(layer)
        self.q1, self.k1, self.q2, self.k2 = (nn.Parameter(torch.zeros(head_dim)) for _ in range(4))

    def initialize(self, generator: torch.Generator) -> None:
        """Normal(0, 0.1), as published."""
        for weight in self.parameters():
            weight.normal_(0.0, 0.1, generator=generator)

    def forward(self) -> Tensor:
        """A float32 number; float64 for weights of that type."""
        q1, k1, q2, k2 = (
            w if w.dtype == torch.float64 else w.float() for w in (self.q1, self.k1, self.q2, self.k2)
        )
        return torch.exp(q1 @ k1) - torch.exp(q2 @ k2) + self.start


class DifferentialAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B H T L", "mixed": "B H T C"}

    def __init__(self, spec: Differential, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads, kv = 2 * spec.num_heads * spec.head_dim, 2 * spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.o = nn.Linear(heads, width, bias=False)
        self.weight_of_second = Lambda(spec.head_dim, layer)
        self.head_norm = RMSNorm(2 * spec.head_dim, spec.eps)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        C = self.spec.head_dim
        # Heads 2h and 2h + 1 of q and k are the two softmaxes of head h.
        q, k = (m(x).view(B, T, -1, C).transpose(1, 2) for m in (self.q, self.k))  # [B,2H or 2K,T,C]
        v = self.v(x).view(B, T, -1, 2 * C).transpose(1, 2)  # [B,K,T,2C]
        if place.cos is not None and place.sin is not None and self.spec.rope is not None:
            pairs = self.spec.rope.interleaved
            q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)
        mixed = self.head_norm(self.difference(q, k, v, allowed(place, T)))  # [B,H,T,2C]
        mixed = self.tap("mixed", mixed * (1 - self.weight_of_second.start))
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out

    def difference(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q [B, 2H, T, C], k [B, 2K, L, C], v [B, K, L, 2C] -> [B, H, T, 2C], before the norm."""
        weight = self.weight_of_second().to(q.dtype)
        q1, q2, k1, k2 = q[:, 0::2], q[:, 1::2], k[:, 0::2], k[:, 1::2]
        if self.watched("pattern"):
            first, second = (self._softmax(a, b, mask) for a, b in ((q1, k1), (q2, k2)))
            return weighted_sum(self.tap("pattern", first - weight * second), v)
        first, second = (
            F.scaled_dot_product_attention(a, b, v, attn_mask=mask, enable_gqa=True)
            for a, b in ((q1, k1), (q2, k2))
        )
        mixed: Tensor = first - weight * second
        return mixed

    def _softmax(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        scores = dot_products(q, k) * self.spec.head_dim**-0.5  # [B,H,T,L]
        scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        pattern: Tensor = scores.softmax(-1)
        return pattern
