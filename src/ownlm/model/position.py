"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in the half-rotation order of Hugging Face.

Feature i is paired with feature i + C/2 (the paper and llama2.c pair 2i with 2i + 1; weights convert by a
permutation of the rows of q and k). Not covered: scaled or partial rotation.

Letters: B batch, T time, N heads (query or key), C head width, P positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.model.config import ModelConfig


class Rope(nn.Module):
    """Cosines and sines of every position, looked up once per forward and used by every block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # Plain tensors, not buffers: module.to(bfloat16) must not round the angles' cosines.
        self.cos, self.sin = rope_tables(config.max_positions, config.head_dim, config.rope_theta)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions [B or 1, T] int64 -> cos and signed sin, each [B or 1, 1, T, C] float32."""
        if self.cos.device != positions.device:
            self.cos, self.sin = self.cos.to(positions.device), self.sin.to(positions.device)
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def rope_tables(num_positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and signed sin, each [P, C] float32: the first half of sin is negated, see `rotate`."""
    half = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    frequency = 1.0 / theta ** (half / head_dim)  # [C/2]
    angle = torch.arange(num_positions, dtype=torch.float32, device="cpu")[:, None] * frequency  # [P, C/2]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, N, T, C] turned by its position's angle; same dtype, computed in float32.

    (a, b) -> (a cos - b sin, b cos + a sin) with a, b the two halves of C; `roll` swaps the halves and the
    sign sits in `sin`, which is three operations instead of eight.
    """
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return (x * cos + swapped * sin).to(x.dtype)
