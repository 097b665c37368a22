"""Initial values of state-space layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def uniform(generator: torch.Generator, *linears: nn.Linear) -> None:
    """Weights uniform in +-1/sqrt(inputs), biases zero."""
    for linear in linears:
        bound = linear.in_features**-0.5
        linear.weight.uniform_(-bound, bound, generator=generator)
        if linear.bias is not None:
            linear.bias.zero_()


def convolution(generator: torch.Generator, weight: Tensor, bias: Tensor | None) -> None:
    """weight [E, K] uniform in +-1/sqrt(K)."""
    bound = weight.shape[1] ** -0.5
    weight.uniform_(-bound, bound, generator=generator)
    if bias is not None:
        bias.zero_()


def log_steps(generator: torch.Generator, into: Tensor, shortest: float, longest: float) -> None:
    """Logarithms of step sizes, log-uniform in [shortest, longest]."""
    into.uniform_(math.log(shortest), math.log(longest), generator=generator)


def softplus_steps(
    generator: torch.Generator, into: Tensor, shortest: float = 1e-3, longest: float = 0.1
) -> None:
    """Numbers whose softplus is log-uniform in [shortest, longest] (Mamba, section 3.6)."""
    log_steps(generator, into, shortest, longest)
    step = into.exp()
    into.copy_(step + torch.log(-torch.expm1(-step)))  # softplus^-1(y) = y + log(1 - exp(-y))
