"""A target is written from a corrupted source: T5's and UL2's spans, BART's noise, of an encoder-decoder.

Letters: B rows, S source tokens, U target tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import IGNORE


@dataclass(frozen=True, slots=True)
class SourceToTarget:
    """-log p of each target token given the source and the target tokens before it.

    inputs [B, S] are the source, targets [B, U] the target; extra["mask"] bool [B, S] is False for the source's
    padding. The decoder reads the target moved by one behind the model's start token.
    """

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        read = shifted(batch.targets, model.config.start_id, model.config.pad_id)
        logits = model(batch.inputs, read, batch.extra.get("mask"))  # [B,U,V]
        asked = batch.targets != IGNORE
        return F.cross_entropy(logits[asked].float(), batch.targets[asked], reduction="sum") / divisor


def shifted(targets: Tensor, start_id: int, pad_id: int) -> Tensor:
    """targets [B, U] -> what the decoder reads when it is asked for them, [B, U]."""
    before = torch.where(targets == IGNORE, pad_id, targets)[:, :-1]
    return torch.cat((torch.full_like(targets[:, :1], start_id), before), dim=1)
