"""Weights and gradients that the tests of optimizers share, equal on every call."""

import torch
from torch import nn


def named(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        (f"w{i}", nn.Parameter(torch.randn(shape, generator=generator))) for i, shape in enumerate(shapes)
    ]


def set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(100 + step)
    for _, weight in parameters:
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)
