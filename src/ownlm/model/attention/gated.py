"""Gated attention (Qiu et al. 2025, arXiv:2505.06708): a sigmoid gate of the layer's input on what attention mixed.

    o( sigmoid(gate(x)) * softmax(q k^T / sqrt(C)) v )        the position "G1" of section 2.2

A head may thus say nothing, and need not park its weight on the first token (the attention sink).

Letters: B batch, T time, L keys, D model width, H query heads, K key/value heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import dot_products, weighted_sum
from ownlm.model.attention.scaled_dot_product import allowed
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate


@dataclass(frozen=True, slots=True)
class Gated:
    """Grouped-query attention with a gate."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope | None = None
    window: int | None = None
    """Tokens that a token sees, itself included; None: all."""
    gate: Literal["element", "head"] = "element"
    """One gate per feature of every head, or one per head."""

    def __post_init__(self) -> None:
        if min(self.num_heads, self.num_kv_heads, self.head_dim) < 1 or self.num_heads % self.num_kv_heads:
            raise UsageError("num_heads must be a multiple of num_kv_heads.", str(self), "change one of them")
        if self.gate not in ("element", "head"):
            raise UsageError("This gate is not known.", repr(self.gate), "use element or head")

    @property
    def gates(self) -> int:
        """Gates per token."""
        return self.num_heads * (self.head_dim if self.gate == "element" else 1)

    def build(self, width: int, layer: int) -> GatedAttention:
        return GatedAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return width * (2 * (self.num_heads + self.num_kv_heads) * self.head_dim + self.gates)

    def active_parameters(self, width: int) -> int:
        return self.num_parameters(width)

    def mixing_flops(self, context: int) -> int:
        seen = context if self.window is None else min(context, self.window)
        return 4 * self.num_heads * self.head_dim * seen + self.num_heads * self.head_dim

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 2 * self.num_kv_heads * self.head_dim * dtype_bytes


class GatedAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B H T L", "mixed": "B H T C", "gating": "B H T C"}

    def __init__(self, spec: Gated, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.gate = nn.Linear(width, spec.gates, bias=False)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        C = self.spec.head_dim
        q, k, v = (m(x).view(B, T, -1, C).transpose(1, 2) for m in (self.q, self.k, self.v))  # [B,H or K,T,C]
        if place.cos is not None and place.sin is not None and self.spec.rope is not None:
            pairs = self.spec.rope.interleaved
            q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,K,L,C]
        mask = allowed(place, T)
        if self.watched("pattern"):
            scores = dot_products(q, k) * C**-0.5  # [B,H,T,L]
            scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
            mixed = weighted_sum(self.tap("pattern", scores.softmax(-1)), v)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)  # [B,H,T,C]
        mixed = self.tap("mixed", mixed)
        gate = (
            torch.sigmoid(self.gate(x)).view(B, T, self.spec.num_heads, -1).transpose(1, 2)
        )  # [B,H,T,C or 1]
        gated = self.tap("gating", gate) * mixed
        out: Tensor = self.o(gated.transpose(1, 2).reshape(B, T, -1))
        return out
