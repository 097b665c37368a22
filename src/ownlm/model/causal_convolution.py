"""The short causal convolution in front of recurrences and state spaces: each channel alone, K tokens wide.

Letters: B batch, T time, E channels, K kernel width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConvolution(nn.Module):
    """y[t] = bias + sum_k weight[:, k] x[t - K + 1 + k], channel by channel.

    Written as K products of shifted copies: for the usual K = 4 that is as fast as a grouped conv1d and needs no
    change of layout.
    """

    def __init__(self, channels: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(channels, kernel)
        )  # [E, K], the last column meets the newest token
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None  # [E]

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, E], earlier [B, K-1, E] or None at the start -> (y [B, T, E], the last K - 1 inputs)."""
        B, T, E = x.shape
        K = self.weight.shape[1]
        if earlier is None:
            earlier = x.new_zeros(B, K - 1, E)
        padded = torch.cat((earlier, x), dim=1)  # [B, K-1+T, E]
        y = sum(
            (padded[:, k : k + T] * self.weight[:, k] for k in range(1, K)), padded[:, :T] * self.weight[:, 0]
        )
        if self.bias is not None:
            y = y + self.bias
        return y, padded[:, T:].clone()  # a copy, or the whole text would stay in memory
