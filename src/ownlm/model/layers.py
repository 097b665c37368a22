"""Normalisation and feed-forward layers: what each is (a small frozen description) and what it computes.

Letters: B batch, T time, D model width, F feed-forward width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError


class RMSNorm(nn.Module):
    """x / rms(x) * weight (Zhang & Sennrich 2019, arXiv:1910.07467), statistics in float32.

    offset: the factor is 1 + weight, the weight starting at zero (Gemma).
    """

    def __init__(self, width: int, eps: float, offset: bool = False) -> None:
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = nn.Parameter(torch.zeros(width) if offset else torch.ones(width))  # [D]

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D], same dtype."""
        weight = 1.0 + self.weight if self.offset else self.weight
        # torch's fused form: half the time of the written-out formula, forward and backward. It needs one dtype.
        return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), self.eps)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(var + eps) * weight + bias (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, width: int, eps: float, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))  # [D]
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None  # [D]

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D], same dtype."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, (x.shape[-1],), self.weight.to(x.dtype), bias, self.eps)


@dataclass(frozen=True, slots=True)
class Norm:
    """Which normalisation."""

    kind: Literal["rms", "layer"] = "rms"
    eps: float = 1e-5
    bias: bool = False
    """LayerNorm only."""
    offset: bool = False
    """RMSNorm only: multiply by 1 + weight."""

    def __post_init__(self) -> None:
        if (self.kind == "rms" and self.bias) or (self.kind == "layer" and self.offset):
            raise UsageError("This normalisation has no such option.", str(self), "bias: layer; offset: rms")

    def build(self, width: int) -> nn.Module:
        if self.kind == "layer":
            return LayerNorm(width, self.eps, self.bias)
        return RMSNorm(width, self.eps, self.offset)

    def num_parameters(self, width: int) -> int:
        return width * (2 if self.bias else 1)


ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),  # Primer (So et al. 2021, arXiv:2109.08668)
    "sigmoid": torch.sigmoid,  # gated: GLU
    "identity": lambda x: x,  # gated: bilinear
}


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A dense feed-forward layer; every word has its own `width` * D weights per matrix."""

    width: int
    """F."""
    activation: str = "silu"
    """A name of ACTIVATIONS."""
    gated: bool = True
    """down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202); else down(activation(up(x)))."""
    bias: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise UsageError("This activation is not known.", repr(self.activation), f"use {', '.join(ACTIVATIONS)}")  # fmt: skip

    def build(self, width: int) -> nn.Module:
        return Gated(width, self) if self.gated else Plain(width, self)

    def num_parameters(self, width: int) -> int:
        matrices = 3 if self.gated else 2
        biases = (matrices - 1) * self.width + width if self.bias else 0
        return matrices * self.width * width + biases

    def active_parameters(self, width: int) -> int:
        """Weights that one token is multiplied with."""
        return (3 if self.gated else 2) * self.width * width


class Gated(nn.Module):
    """down(activation(gate(x)) * up(x)): SwiGLU with silu, GeGLU with gelu."""

    def __init__(self, width: int, spec: FeedForward) -> None:
        super().__init__()
        self.gate = nn.Linear(width, spec.width, bias=spec.bias)
        self.up = nn.Linear(width, spec.width, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        out: Tensor = self.down(self.activation(self.gate(x)) * self.up(x))  # [B,T,F] inside
        return out


class Plain(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, width: int, spec: FeedForward) -> None:
        super().__init__()
        self.up = nn.Linear(width, spec.width, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        out: Tensor = self.down(self.activation(self.up(x)))  # [B,T,F] inside
        return out
