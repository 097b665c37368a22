"""Transformer-XL's relative positions (Dai et al. 2019, arXiv:1901.02860, section 3.3): the score of key j for query i is

    (q_i + u) . k_j + (q_i + w) . r_(i-j),     r_d = W_r sinusoid(d),     all divided by sqrt(C)

u and w are one trained vector per head. The segment memory of the paper is the ordinary cache here. Our table of
sinusoids interleaves sine and cosine (the paper's code concatenates them): a permutation of W_r's columns.

Letters: B batch, T time, L keys, D model width, H heads, C head width, P distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.scaled_dot_product import allowed
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place


@dataclass(frozen=True, slots=True)
class TransformerXL:
    """Multi-head attention with relative terms in the scores."""

    num_heads: int
    head_dim: int
    window: int | None = None

    def __post_init__(self) -> None:
        if min(self.num_heads, self.head_dim) < 1:
            raise UsageError("Attention needs heads of some width.", str(self), "give positive numbers")

    def build(self, width: int, layer: int) -> RelativeAttention:
        return RelativeAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return (5 * width + 2) * self.num_heads * self.head_dim

    def active_parameters(self, width: int) -> int:
        """Without W_r, which works once per distance, not per token."""
        return 4 * width * self.num_heads * self.head_dim

    def mixing_flops(self, context: int) -> int:
        seen = context if self.window is None else min(context, self.window)
        return 6 * self.num_heads * self.head_dim * seen

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 2 * self.num_heads * self.head_dim * dtype_bytes


class RelativeAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B H T L", "mixed": "B H T C"}

    def __init__(self, spec: TransformerXL, width: int, layer: int) -> None:
        super().__init__()
        if width % 2:
            raise UsageError("Sinusoids need an even width.", f"hidden_size = {width}", "add one")
        self.spec, self.layer, self.width = spec, layer, width
        heads = spec.num_heads * spec.head_dim
        self.q, self.k, self.v, self.r = (nn.Linear(width, heads, bias=False) for _ in range(4))
        self.o = nn.Linear(heads, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(spec.num_heads, spec.head_dim))  # u
        self.position_bias = nn.Parameter(torch.zeros(spec.num_heads, spec.head_dim))  # w

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        H, C = self.spec.num_heads, self.spec.head_dim
        q, k, v = (m(x).view(B, T, H, C).transpose(1, 2) for m in (self.q, self.k, self.v))  # [B,H,T,C]
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,H,L,C]
        content = (q + self.content_bias[:, None]) @ k.transpose(-1, -2)  # [B,H,T,L]
        # Keys ahead of their query are masked below; whatever distance they get plays no part.
        distance = (place.positions[:, :, None] - place.keys[:, None, :]).clamp(min=0)  # [B or 1,T,L]
        farthest = int(distance.max())
        table = self.r(sinusoids(farthest + 1, self.width, x)).view(-1, H, C).transpose(0, 1)  # [H,P,C]
        by_distance = (q + self.position_bias[:, None]) @ table.transpose(-1, -2)  # [B,H,T,P]
        index = distance[:, None].expand(B, H, T, distance.shape[-1])
        scores = (content + by_distance.gather(-1, index)) * C**-0.5
        mask = allowed(place, T)
        scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        mixed = self.tap("mixed", self.tap("pattern", scores.softmax(-1)) @ v)  # [B,H,T,C]
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out


def sinusoids(num: int, width: int, like: Tensor) -> Tensor:
    """sin(d / 10000^(2i/D)) and the cosine, interleaved: [P, D] in the type and on the device of `like`."""
    kind = torch.float64 if like.dtype == torch.float64 else torch.float32
    feature = torch.arange(0, width, 2, device=like.device, dtype=kind)
    angle = torch.arange(num, device=like.device)[:, None] * torch.exp(feature * (-math.log(10000.0) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).to(like.dtype)
