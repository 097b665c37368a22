"""Many small models trained side by side, each on its own part of the examples: what attribution is checked against.

torch.func maps one training over M sets of weights, so that M tiny models cost far less than M trainings. Plain
full-batch Adam (Kingma & Ba 2015): no order of batches stands between a subset and its model. For models that fit
beside each other; a real run is `ownlm.train.loop.train`.

Letters: M models, N examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import grad, vmap

from ownlm.errors import UsageError
from ownlm.interp.gradients import Examples, Logits, Trained, Weights, loss_of, losses
from ownlm.train.objectives.cross_entropy import IGNORE

BETAS, EPSILON = (0.9, 0.99), 1e-8


def retrain(
    starts: Sequence[Weights],
    logits: Logits,
    examples: Examples,
    masks: Tensor,
    steps: int,
    rate: float,
    decay: float = 0.0,
    after: Callable[[int, list[Trained]], None] | None = None,
) -> list[Trained]:
    """masks [M, N] (bool, or weights of the examples) -> M models; starts: M sets of weights, or one for all.

    Minimises the weighted mean of nats per trained position + decay/2 |w|^2. The rate falls linearly to zero.
    `after(step, models)` is called with copies after every step (checkpoints for TracIn). Raises UsageError for an
    empty subset or a diverged model.
    """
    M = len(masks)
    if bool((masks.sum(1) <= 0).any()):
        raise UsageError("A subset has no example.", f"subset {int(masks.sum(1).argmin())}", "choose larger subsets")  # fmt: skip
    given = list(starts) * M if len(starts) == 1 else list(starts)
    weights = {name: torch.stack([start[name] for start in given]) for name in given[0]}  # [M, ...]
    tokens = (examples.targets != IGNORE).sum(1).float()  # [N]

    def objective(mine: Weights, mask: Tensor) -> Tensor:
        each = vmap(lambda x, y: loss_of(logits(mine, x), y))(examples.inputs, examples.targets)  # [N]
        size = sum((weight**2).sum() for weight in mine.values())
        return (each * mask).sum() / (tokens * mask).sum() + decay / 2 * size

    slope = vmap(grad(objective))
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step in range(steps):
        found = slope(weights, masks.float())
        for name, g in found.items():
            first[name] = BETAS[0] * first[name] + (1 - BETAS[0]) * g
            second[name] = BETAS[1] * second[name] + (1 - BETAS[1]) * g**2
            mean = first[name] / (1 - BETAS[0] ** (step + 1))
            spread = second[name] / (1 - BETAS[1] ** (step + 1))
            weights[name] = weights[name] - rate * (1 - step / steps) * mean / (spread.sqrt() + EPSILON)
        if after is not None:
            after(step, _apart(weights, logits, M))
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise UsageError("A retrained model diverged.", f"rate = {rate:g}", "lower the rate")
    return _apart(weights, logits, M)


def query_losses(models: Sequence[Trained], query: Examples) -> Tensor:
    """[M, Q] nats."""
    return torch.stack([losses(model, query) for model in models])


def _apart(weights: Weights, logits: Logits, count: int) -> list[Trained]:
    return [
        Trained({name: weight[m].clone() for name, weight in weights.items()}, logits) for m in range(count)
    ]
