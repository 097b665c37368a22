"""Masked diffusion: an upper bound of the text's -log p, in nats per token (MDLM, arXiv:2406.07524, eq. 10).

Batches come from corruption/noising.py, which draws the times. Letters: B rows, T tokens, M masked tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import IGNORE


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Sum over masked tokens of weight -log p(token), divided by the step's masked tokens: per token of text, as
    extra["weight"] [B] is made. Held-out loss is the mean over batches of this, each with its own divisor."""

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        logits = model(batch.inputs)  # [B,T,V]
        masked = batch.targets != IGNORE
        nats = F.cross_entropy(logits[masked].float(), batch.targets[masked], reduction="none")  # [M]
        weight = batch.extra["weight"][:, None].expand_as(batch.targets)[masked]
        return (nats * weight).sum() / divisor
