"""Maximal update parametrisation (muP): the best learning rate of a narrow model is that of a wide one.

Yang et al. 2022, "Tensor Programs V", arXiv:2203.03466, table 3, for Adam; w = width / base_width:

    weights        standard deviation          rate
    embedding      as it was                   as it was        (input: its fan-in does not grow)
    norms, biases  as they were                as it was
    blocks         times 1 / sqrt(w)           times 1 / w      (hidden: fan-in and fan-out grow)
    output         times 1 / w                 times 1 / w

At base_width nothing changes, and rates found there hold at every width. With Adam each entry's step is about the
rate, so the change of an output is the fan-in's sum of steps: it grows with the width unless the rate falls.

Widths must grow by more heads of one size: then the attention's 1/sqrt(C) is a constant, and their 1/C is not needed.
Not covered: tied embeddings (the matrix is input and output at once, with opposite needs), Muon, whose steps are
scaled to the width anyway, and SGD, whose table is another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ownlm.errors import UsageError
from ownlm.train.optimizers.optimizer import Named, split

ADAM_LIKE = ("adam", "adamw", "adam8bit", "lion", "sophia")
"""Steps of about one rate per entry, whatever the gradient's size."""


def rate_groups(model: Any, base_width: int, optimizer: str) -> list[tuple[str, Named, float]]:
    """(name, weights, factor on the rate): "wide" falls with the width, "rest" does not; "vectors" (norms and biases)
    are apart because nothing decays them. Raises UsageError for a tied model or an optimizer muP's table is not of."""
    check(model, base_width)
    if optimizer not in ADAM_LIKE:
        raise UsageError(
            "muP's rates are those of Adam.",
            f"optimizer = {optimizer!r}, base_width = {base_width}",
            f"use one of {', '.join(ADAM_LIKE)}, or leave base_width out",
        )
    hidden, _ = split(model)
    wide = {name for name, _ in hidden} | {"output.weight"}
    named = list(model.named_parameters())
    groups = {
        "wide": [pair for pair in named if pair[0] in wide],
        "rest": [pair for pair in named if pair[0] not in wide and pair[1].ndim > 1],
        "vectors": [pair for pair in named if pair[0] not in wide and pair[1].ndim <= 1],
    }
    factor = base_width / model.architecture.hidden_size
    return [(name, weights, factor if name == "wide" else 1.0) for name, weights in groups.items() if weights]


@torch.no_grad()
def initialize(model: Any, base_width: int) -> None:
    """Scale the weights of a fresh model as in the table; call it once, before training."""
    check(model, base_width)
    ratio = base_width / model.architecture.hidden_size
    for _, weight in split(model)[0]:
        weight.mul_(ratio**0.5)
    model.output.weight.mul_(ratio)


@torch.no_grad()
def initialize_standard(model: Any, base_width: int) -> None:
    """The standard parametrisation to compare with: every matrix falls as 1 / sqrt(fan-in), equal at base_width."""
    check(model, base_width)
    ratio = base_width / model.architecture.hidden_size
    for weight in [*(weight for _, weight in split(model)[0]), model.output.weight]:
        weight.mul_(ratio**0.5)


def check(model: nn.Module, base_width: int) -> None:
    if getattr(model, "output", None) is None or base_width < 1:
        raise UsageError(
            "muP needs an output layer of its own and a positive base width.",
            f"tied embeddings: {getattr(model, 'output', None) is None}, base_width = {base_width}",
            "make the model with tie_embeddings=False",
        )
