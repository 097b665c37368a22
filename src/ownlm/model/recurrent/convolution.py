"""What recurrent mixers do to their inputs and outputs: look a few tokens back, normalise each head.

Letters: B batch, T time, D width, W taps, H heads, C head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.causal_convolution import CausalConvolution


class ShortConvolution(CausalConvolution):
    """silu(sum_j weight[:, j] x_{t - W + 1 + j}): each channel over its last W tokens; before the text, zeros."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__(width, taps, bias=False)
        nn.init.zeros_(self.weight)  # [D,W]; the last tap is the token itself

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """As torch's Conv1d: uniform within 1/sqrt(W)."""
        bound = self.weight.shape[1] ** -0.5
        self.weight.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, D], earlier [B, W-1, D] (the tokens before) -> convolved [B, T, D], the last W - 1 inputs."""
        out, last = super().forward(x, earlier)
        return F.silu(out), last


def shifted(x: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
    """Token shift: x [B, T, D] -> the token before each, [B, T, D], and the last one [B, 1, D]."""
    last = torch.zeros_like(x[:, :1]) if last is None else last
    return torch.cat((last, x[:, :-1]), dim=1), x[:, -1:].clone()


class HeadNorm(nn.Module):
    """Group normalisation with a group per head (Wu & He 2018, arXiv:1803.08494): over C, weight and bias per channel."""

    def __init__(self, num_heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.num_heads, self.eps = num_heads, eps
        self.weight = nn.Parameter(torch.ones(num_heads * head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads * head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H*C] -> [B, T, H*C]."""
        flat = x.flatten(0, 1)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.group_norm(flat, self.num_heads, weight, bias, self.eps).view_as(x)
