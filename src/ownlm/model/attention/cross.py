"""Attention from any tokens to any others: who may look at whom is said by a mask, never by the order of time.

Encoders attend to themselves, the decoder of an encoder-decoder to its source (Vaswani et al. 2017,
arXiv:1706.03762, section 3.2). Causal mixers of the decoder-only models live in the other files of this folder.

Letters: B batch, T queries, S keys, D model width, H heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped


@dataclass(frozen=True, slots=True)
class Heads:
    """What an attention of this kind is; H * C need not be D."""

    num_heads: int
    head_dim: int
    bias: bool = True
    """Of q, k, v and o."""
    scale: float | None = None
    """Of the dot products; None: C ** -0.5, 1.0: none (T5)."""

    def __post_init__(self) -> None:
        if min(self.num_heads, self.head_dim) < 1:
            raise UsageError("Attention needs heads of some width.", str(self), "give positive numbers")

    def build(self, width: int) -> CrossAttention:
        return CrossAttention(width, self)

    def num_parameters(self, width: int) -> int:
        inner = self.num_heads * self.head_dim
        return 4 * width * inner + (3 * inner + width if self.bias else 0)

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.num_heads * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """q k^T and pattern v for one query over `context` keys."""
        return 4 * self.num_heads * self.head_dim * context

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 2 * self.num_heads * self.head_dim * dtype_bytes


class CrossAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B H T S", "mixed": "B H T C"}

    def __init__(self, width: int, spec: Heads) -> None:
        super().__init__()
        self.spec = spec
        self.scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
        inner = spec.num_heads * spec.head_dim
        self.q = nn.Linear(width, inner, bias=spec.bias)
        self.k = nn.Linear(width, inner, bias=spec.bias)
        self.v = nn.Linear(width, inner, bias=spec.bias)
        self.o = nn.Linear(inner, width, bias=spec.bias)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """source [B, S, D] -> k and v, each [B, H, S, C]: what a cache keeps."""
        return self.split(self.k(source)), self.split(self.v(source))

    def split(self, flat: Tensor) -> Tensor:
        """[B, T, H*C] -> [B, H, T, C]."""
        B, T, _ = flat.shape
        return flat.view(B, T, self.spec.num_heads, self.spec.head_dim).transpose(1, 2)

    def pair(self, source: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """k and v of a source, which may be that pair already."""
        return self.keys_values(source) if isinstance(source, Tensor) else source

    def forward(
        self,
        x: Tensor,
        source: Tensor | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        relative: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, D] looks at source [B, S, D], or at its k and v [B, H, S, C] -> [B, T, D].

        mask: bool, broadcastable to [B, 1, T, S], True where a query may look. relative: added to the scores,
        broadcastable to [B, H, T, S] (T5). A query that may look nowhere gets the mean of all values, not NaN.
        """
        q, (k, v) = self.split(self.q(x)), self.pair(source)  # [B,H,T,C], [B,H,S,C]
        added = score_bias(mask, relative, q.dtype)
        if self.watched("pattern"):
            scores = q @ k.transpose(-1, -2) * self.scale  # [B,H,T,S]
            pattern = (scores if added is None else scores + added).softmax(dim=-1)
            mixed = self.tap("pattern", pattern) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=self.scale)
        mixed = self.tap("mixed", mixed)  # [B,H,T,C]
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


def score_bias(mask: Tensor | None, relative: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to scores: `relative` where the mask allows, the most negative finite number elsewhere."""
    if mask is None:
        return relative
    low = torch.finfo(dtype).min
    open_ = torch.zeros((), dtype=dtype, device=mask.device) if relative is None else relative
    return torch.where(mask, open_, low)


def padding_mask(mask: Tensor | None, ids: Tensor) -> Tensor | None:
    """mask [B, T] of ids [B, T], nonzero (or True) for text and zero for padding -> bool [B, 1, 1, T]."""
    if mask is None:
        return None
    if mask.shape != ids.shape:
        raise UsageError("The padding mask has another shape than the ids.",
                         f"mask {list(mask.shape)}, ids {list(ids.shape)}", "give one number per token")  # fmt: skip
    return mask.bool()[:, None, None, :]
