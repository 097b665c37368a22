"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in the half-rotation order of Hugging Face.

Feature i is paired with feature i + R/2 (the paper and llama2.c pair 2i with 2i + 1; weights convert by a
permutation of the rows of q and k).

Letters: B batch, T time, N heads (query or key), C head width, R rotated part of it, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Rope:
    """Which rotation. Layers with equal Rope and equal head width share one table."""

    theta: float = 10000.0
    """Base of the wavelengths."""
    dims: int | None = None
    """R: features of each head that are rotated, the first ones; None: all."""


class RotaryTable(nn.Module):
    """Cosines and sines of every position, looked up once per forward and used by every block."""

    def __init__(self, rope: Rope, head_dim: int, max_positions: int) -> None:
        super().__init__()
        # Plain tensors, not buffers: module.to(bfloat16) must not round the angles' cosines.
        self.cos, self.sin = rope_tables(max_positions, rope.dims or head_dim, rope.theta)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions [B or 1, T] int64 -> cos and signed sin, each [B or 1, 1, T, R] float32."""
        if self.cos.device != positions.device:
            self.cos, self.sin = self.cos.to(positions.device), self.sin.to(positions.device)
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def rope_tables(num_positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and signed sin, each [P, R] float32: the first half of sin is negated, see `rotate`."""
    half = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    frequency = 1.0 / theta ** (half / head_dim)  # [R/2]
    angle = torch.arange(num_positions, dtype=torch.float32, device="cpu")[:, None] * frequency  # [P, R/2]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, N, T, C] with its first R features turned by its position's angle; same dtype, computed in float32.

    (a, b) -> (a cos - b sin, b cos + a sin) with a, b the two halves of R; `roll` swaps the halves and the
    sign sits in `sin`, which is three operations instead of eight.
    """
    R = cos.shape[-1]
    if x.shape[-1] > R:
        return torch.cat((rotate(x[..., :R], cos, sin), x[..., R:]), dim=-1)
    swapped = x.roll(R // 2, dims=-1)
    return (x * cos + swapped * sin).to(x.dtype)
