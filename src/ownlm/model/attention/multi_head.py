"""Multi-head self-attention with its four matrices in sight (arXiv:1706.03762, section 3.2.2).

For learning and looking: it returns every head's weights and their entropy. The decoder's layer is grouped.py.

Letters: B batch, T time, D model width, H heads, C = D/H head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.scaled_dot_product import attention, entropy


class Looked(NamedTuple):
    """What attention gave, and how it looked."""

    out: Tensor  # [B, T, D]
    weights: Tensor  # [B, H, T, T]
    entropy: Tensor  # [B, H, T], nats


class MultiHead(nn.Module):
    """concat(head_1 .. head_H) W_o with head_h = attention(x W_q^h, x W_k^h, x W_v^h)."""

    def __init__(self, width: int, num_heads: int, bias: bool = True, seed: int = 0) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise UsageError("The width must be a multiple of the heads.", f"width = {width}, num_heads = {num_heads}", "change one of them")  # fmt: skip
        self.num_heads = num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=bias) for _ in range(4))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.normal_(0.0, width**-0.5, generator=generator) if weight.ndim > 1 else weight.zero_()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Looked:
        """x [B, T, D]; mask bool, broadcast to [B, H, T, T], True where a token may look."""
        B, T, D = x.shape
        q, k, v = (
            m(x).view(B, T, self.num_heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v)
        )  # [B,H,T,C]
        mixed, weights = attention(q, k, v, mask)
        return Looked(self.o(mixed.transpose(1, 2).reshape(B, T, D)), weights, entropy(weights))
