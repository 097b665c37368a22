"""Grouped-query causal self-attention (Ainslie et al. 2023, arXiv:2305.13245), with or without a cache.

Letters: B batch, T time (new tokens), L keys to attend to, D model width, H query heads, K key/value heads,
G = H/K query heads per key/value head, C head width.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.config import ModelConfig
from ownlm.model.position import rotate

PLAIN_MAX_TOKENS = 512
"""Up to this length attention is two plain matrix products and a softmax; beyond it, torch's flash kernel.

On CPU the backward of the flash kernel takes twice the time of the plain bf16 products at 256 to 512 tokens,
although these also compute the masked half; beyond, the T x T scores no longer fit the caches.
"""


class Cache(Protocol):
    """Keys and values of earlier tokens, as attention sees them. Training passes none."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, K, T, C] of the new tokens; return all of them, each [B, K, L, C]."""
        ...

    def mask(self) -> Tensor | None:
        """True where a new token may look: bool [B, 1, T, L]; None when every token may see every key."""
        ...


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads, self.head_dim = (
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
        )
        self.q = nn.Linear(config.hidden_size, config.num_heads * config.head_dim, bias=False)
        self.k = nn.Linear(config.hidden_size, config.num_kv_heads * config.head_dim, bias=False)
        self.v = nn.Linear(config.hidden_size, config.num_kv_heads * config.head_dim, bias=False)
        self.o = nn.Linear(config.num_heads * config.head_dim, config.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]; cos, sin as `Rope` gives them; mask as `causal_mask` or the cache gives it."""
        B, T, _ = x.shape
        q = self.q(x).view(B, T, self.num_heads, self.head_dim).transpose(1, 2)  # [B,H,T,C]
        k = self.k(x).view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)  # [B,K,T,C]
        v = self.v(x).view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)  # [B,K,T,C]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,K,L,C]
            # One kernel per row and head: a row's result does not depend on the rest of the batch.
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)  # [B,H,T,C]
        elif mask is not None:
            mixed = plain_attention(q, k, v, mask)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))  # [B,T,D]
        return out


def causal_mask(num_tokens: int, device: torch.device) -> Tensor | None:
    """The mask that chooses plain attention, bool [1, 1, T, T]; None (choose flash) above PLAIN_MAX_TOKENS."""
    if num_tokens > PLAIN_MAX_TOKENS:
        return None
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()[None, None]


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(C)) v: q [B,H,T,C], k and v [B,K,T,C], mask as `causal_mask` -> [B,H,T,C].

    The G query heads of a key/value head are laid side by side in one product: k and v are never repeated.
    """
    B, H, T, C = q.shape
    K, G = k.shape[1], H // k.shape[1]
    grouped = (q * C**-0.5).reshape(B, K, G * T, C)
    scores = (grouped @ k.transpose(-1, -2)).view(B, H, T, T)
    weights = torch.where(mask, scores, float("-inf")).softmax(dim=-1)  # [B,H,T,T]
    return (weights.view(B, K, G * T, T) @ v).view(B, H, T, C)
