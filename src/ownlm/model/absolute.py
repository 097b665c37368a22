"""Absolute positions added to embeddings: trained vectors, or the sinusoids of arXiv:1706.03762, section 3.5.

Letters: B batch, T time, P positions, D model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained vector per position."""

    max_positions: int
    """Longest text in tokens."""
    offset: int = 0
    """Rows before the vector of position 0 (BART: 2, RoBERTa: padding id + 1)."""

    def build(self, width: int) -> LearnedPositions:
        return LearnedPositions(self, width)

    def num_parameters(self, width: int) -> int:
        return (self.max_positions + self.offset) * width


class LearnedPositions(nn.Module):
    def __init__(self, spec: Learned, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.table = nn.Embedding(spec.max_positions + spec.offset, width)

    def forward(self, positions: Tensor) -> Tensor:
        """int64 [B or 1, T], each from -offset on -> [B or 1, T, D]; raises UsageError beyond the table."""
        _check(positions, self.spec.max_positions)
        found: Tensor = self.table(positions + self.spec.offset)
        return found


@dataclass(frozen=True, slots=True)
class Sinusoidal:
    """sin and cos of each position at D/2 wavelengths from 2 pi to 10000 * 2 pi; nothing is trained."""

    max_positions: int

    def build(self, width: int) -> SinusoidalPositions:
        return SinusoidalPositions(self, width)

    def num_parameters(self, width: int) -> int:
        return 0


class SinusoidalPositions(nn.Module):
    def __init__(self, spec: Sinusoidal, width: int) -> None:
        super().__init__()
        if width % 2:
            raise UsageError("Sinusoidal positions need an even width.", f"hidden_size = {width}", "add one")
        self.spec, self.width = spec, width

    def forward(self, positions: Tensor) -> Tensor:
        """int64 [B or 1, T] -> float32 [B or 1, T, D]: features 2i and 2i + 1 are sin and cos of wavelength i."""
        _check(positions, self.spec.max_positions)
        feature = torch.arange(0, self.width, 2, device=positions.device, dtype=torch.float32)
        frequency = torch.exp(feature * (-math.log(10000.0) / self.width))  # [D/2]
        angle = positions[..., None] * frequency  # [B,T,D/2]
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def _check(positions: Tensor, limit: int) -> None:
    if positions.numel() and int(positions.max()) >= limit:
        raise UsageError("The text is longer than the model's positions.",
                         f"{int(positions.max()) + 1:,} > {limit:,}", "shorten it")  # fmt: skip
