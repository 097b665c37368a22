"""Grouped-query causal self-attention (Ainslie et al. 2023, arXiv:2305.13245), with or without a cache.

One key/value head per query head is multi-head attention, a single one multi-query attention (Shazeer 2019,
arXiv:1911.02150); a window makes it local (Beltagy et al. 2020, arXiv:2004.05150, as in Mistral).

Letters: B batch, T time (new tokens), L keys to attend to, D model width, H query heads, K key/value heads,
G = H/K query heads per key/value head, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.layers import Norm
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate

BLOCK_TOKENS = 64
"""R: queries of a block of `plain_attention`; an eighth of the text where that is more."""


@dataclass(frozen=True, slots=True)
class GroupedQuery:
    """What a layer of this attention is."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope | None = None
    """None: no rotation (NoPE, or positions that are added elsewhere)."""
    window: int | None = None
    """Tokens that a token sees, itself included; None: all."""
    bias: bool = False
    """Of q, k and v."""
    output_bias: bool = False
    qk_norm: Norm | None = None
    qk_norm_over: Literal["head", "width"] = "head"
    """Normalise each head (Qwen3, Gemma 3) or all of a token's heads at once (OLMo 2); before the rotation."""
    scale: float | None = None
    """Of the dot products; None: C ** -0.5."""
    softcap: float | None = None
    """Scores become softcap * tanh(score / softcap) (Gemma 2, arXiv:2408.00118)."""

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                "num_heads must be a multiple of num_kv_heads.",
                f"num_heads = {self.num_heads}, num_kv_heads = {self.num_kv_heads}",
                "change one of them",
            )

    def build(self, width: int, layer: int) -> Attention:
        return Attention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        heads, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        biases = (heads + 2 * kv if self.bias else 0) + (width if self.output_bias else 0)
        norms = 0
        if self.qk_norm is not None:
            both = 2 * self.head_dim if self.qk_norm_over == "head" else heads + kv
            norms = self.qk_norm.num_parameters(both)
        return 2 * width * (heads + kv) + biases + norms

    def active_parameters(self, width: int) -> int:
        return 2 * width * (self.num_heads + self.num_kv_heads) * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """Forward operations per token besides the weights: q k^T and p v over the keys in reach, the full square."""
        seen = context if self.window is None else min(context, self.window)
        return 4 * self.num_heads * self.head_dim * seen

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Bytes of keys and values kept per token; within a window, up to that many tokens."""
        return 2 * self.num_kv_heads * self.head_dim * dtype_bytes


class Attention(Tapped):
    POINTS: ClassVar = {
        "rotated_q": "B H T C",
        "rotated_k": "B K T C",
        "pattern": "B H T L",
        "mixed": "B H T C",
    }

    def __init__(self, spec: GroupedQuery, width: int, layer: int) -> None:
        super().__init__()
        self.layer, self.spec = layer, spec
        self.num_heads, self.num_kv_heads, self.head_dim = spec.num_heads, spec.num_kv_heads, spec.head_dim
        self.scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
        heads, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=spec.bias)
        self.k = nn.Linear(width, kv, bias=spec.bias)
        self.v = nn.Linear(width, kv, bias=spec.bias)
        self.o = nn.Linear(heads, width, bias=spec.output_bias)
        self.q_norm = self.k_norm = None
        if spec.qk_norm is not None:
            over_head = spec.qk_norm_over == "head"
            self.q_norm = spec.qk_norm.build(spec.head_dim if over_head else heads)
            self.k_norm = spec.qk_norm.build(spec.head_dim if over_head else kv)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        q, k, v = self.heads(x)
        if place.cos is not None and place.sin is not None:
            pairs = self.spec.rope is not None and self.spec.rope.interleaved
            q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
        q, k = self.tap("rotated_q", q), self.tap("rotated_k", k)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,K,L,C]
        if self.spec.softcap is not None or self.watched("pattern"):
            mixed = self.spelled_out(q, k, v, place)
        elif cache is None and place.mask is not None and self.spec.window is None:
            mixed = plain_attention(q, k, v, place.mask, self.scale)
        else:
            # In a cached batch: one kernel per row and head, a row's result does not depend on the other rows.
            causal = cache is None and place.mask is None
            mixed = F.scaled_dot_product_attention(
                q, k, v, attn_mask=place.mask, is_causal=causal, enable_gqa=True, scale=self.scale
            )  # [B,H,T,C]
        mixed = self.tap("mixed", mixed)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))  # [B,T,D]
        return out

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, T, D] -> q [B, H, T, C], k and v [B, K, T, C], normalised, not rotated."""
        B, T, _ = x.shape
        q, k, v = self.q(x), self.k(x), self.v(x)
        wide = self.spec.qk_norm_over == "width"
        if self.q_norm is not None and self.k_norm is not None and wide:
            q, k = self.q_norm(q), self.k_norm(k)
        q = q.view(B, T, self.num_heads, self.head_dim).transpose(1, 2)
        k = k.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v = v.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        if self.q_norm is not None and self.k_norm is not None and not wide:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def spelled_out(self, q: Tensor, k: Tensor, v: Tensor, place: Place) -> Tensor:
        """The formula with every value formed: for capped scores, and for whoever looks at the pattern."""
        scores = dot_products(q, k) * self.scale  # [B,H,T,L]
        if self.spec.softcap is not None:
            scores = self.spec.softcap * torch.tanh(scores / self.spec.softcap)
        mask = place.mask
        if mask is None and q.shape[2] > 1:
            mask = place.positions[:, None, :, None] >= place.keys[:, None, None, :]
        if mask is not None:
            scores = torch.where(mask, scores, float("-inf"))
        pattern = self.tap("pattern", scores.softmax(dim=-1))
        return weighted_sum(pattern, v)


def dot_products(q: Tensor, k: Tensor) -> Tensor:
    """q [B, H, T, C], k [B, K, L, C] -> [B, H, T, L]; the G query heads of a key head lie side by side."""
    B, H, T, C = q.shape
    K = k.shape[1]
    return (q.reshape(B, K, H // K * T, C) @ k.transpose(-1, -2)).view(B, H, T, -1)


def weighted_sum(pattern: Tensor, v: Tensor) -> Tensor:
    """pattern [B, H, T, L], v [B, K, L, C] -> [B, H, T, C]."""
    B, H, T, L = pattern.shape
    K = v.shape[1]
    return (pattern.reshape(B, K, H // K * T, L) @ v).view(B, H, T, -1)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(scale q k^T) v: q [B,H,T,C], k and v [B,K,T,C], mask as `causal_mask` -> [B,H,T,C].

    The G query heads of a key/value head are laid side by side in one product: k and v are never repeated. Queries go
    in blocks of R, each with the keys up to its end: what lies above the diagonal is computed within a block only, which
    is half the products saved, and the scores of a block fit the caches.
    """
    B, H, T, C = q.shape
    K, G, R = k.shape[1], H // k.shape[1], max(BLOCK_TOKENS, T // 8)
    grouped = (q * scale).view(B, K, G, T, C)
    parts = []
    for start in range(0, T, R):
        end = min(T, start + R)
        block = grouped[:, :, :, start:end].reshape(B, K, G * (end - start), C)
        scores = (block @ k[:, :, :end].transpose(-1, -2)).view(B, H, end - start, end)
        weights = torch.where(mask[..., start:end, :end], scores, float("-inf")).softmax(dim=-1)
        mixed = weights.view(B, K, G * (end - start), end) @ v[:, :, :end]
        parts.append(mixed.view(B, H, end - start, C))
    return torch.cat(parts, dim=2)
