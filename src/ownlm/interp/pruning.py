"""Which examples a training can do without: scores of examples, and the part to keep.

    loss        -log p per token after training: noise and wrong labels are high
    el2n        length of (p - one-hot) early in training (Paul et al. 2021, arXiv:2107.07075): hard examples are high
    influence   on the loss of validation examples (influence.py, trak.py): harmful examples are below zero

Which end to cut depends on the score and on how much data there is (Sorscher et al. 2022, arXiv:2206.14486): `middle`
drops both ends, what Marion et al. 2023 (arXiv:2309.04564) found best for perplexity in pretraining.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, vmap

from ownlm.errors import UsageError
from ownlm.interp.gradients import Examples, Trained, losses
from ownlm.train.objectives.cross_entropy import IGNORE

Part = Literal["highest", "lowest", "middle"]


def loss_per_token(trained: Trained, examples: Examples) -> Tensor:
    """[N] nats; exp of it is the perplexity."""
    return losses(trained, examples) / (examples.targets != IGNORE).sum(1).clamp(min=1)


def el2n(models: Sequence[Trained], examples: Examples) -> Tensor:
    """[N]: mean over models (early checkpoints of several seeds) and trained positions of |p - one-hot|."""
    if not models:
        raise UsageError("EL2N needs at least one model.", "0 models", "give early checkpoints")

    def one(logits: Tensor, y: Tensor) -> Tensor:
        p = logits.softmax(1)
        chosen = p.gather(1, y.clamp(min=0)[:, None])[:, 0]  # [T]
        error = ((p**2).sum(1) - chosen**2 + (1 - chosen) ** 2).sqrt()
        return (error * (y != IGNORE)).sum() / (y != IGNORE).sum().clamp(min=1)

    total = torch.zeros(len(examples))
    for model in models:
        both = vmap(lambda x, y, m=model: one(m.logits(m.weights, x), y))
        with torch.no_grad():
            total += torch.cat([both(piece.inputs, piece.targets) for piece in examples.pieces()])
    return total / len(models)


def keep(scores: Tensor, fraction: float, part: Part = "highest") -> Tensor:
    """[N] bool: round(fraction * N) examples, the highest, the lowest or the middle scores. Ties go by number."""
    if not 0 < fraction <= 1:
        raise UsageError(
            "The kept part is a share.", f"fraction = {fraction}", "choose it above 0, at most 1"
        )
    if bool(torch.isnan(scores).any()):
        raise UsageError("A score is not a number.", f"{int(torch.isnan(scores).sum())} of them", "")
    count = max(1, round(fraction * len(scores)))
    order = torch.sort(scores, stable=True).indices
    start = {"lowest": 0, "middle": (len(scores) - count) // 2, "highest": len(scores) - count}
    if part not in start:
        raise UsageError("There is no such part.", part, "highest, lowest or middle")
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[order[start[part] : start[part] + count]] = True
    return kept
