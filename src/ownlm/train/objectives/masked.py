"""Masked tokens, and whether one text follows another (BERT, arXiv:1810.04805, section 3.1), of an encoder.

Batches come from corruption/masking.py, with pairs from corruption/pairs.py. Letters: B rows, T tokens, M tokens asked
for, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import IGNORE


@dataclass(frozen=True, slots=True)
class Masked:
    """-log p of the tokens asked for, and no others; with next_sentence, plus the mean -log p of each pair's class.

    extra: mask and types [B, T] where there is padding or segments; next [B] and weight [B] with next_sentence, of which
    the latter is M / B of the step, so that the classes' sum becomes their mean where the tokens' does.
    """

    next_sentence: bool = False

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        """Raises UsageError where the model lacks the heads that are trained."""
        if model.masked is None or (self.next_sentence and model.classes is None):
            raise UsageError("The encoder lacks a head that this objective trains.", f"{self}: {model.config.heads}",
                             'give EncoderHeads(masked="gelu"), with pairs also pooler="tanh" and ClassHead(2)')  # fmt: skip
        mask, types = batch.extra.get("mask"), batch.extra.get("types")
        asked = batch.targets != IGNORE  # [B,T]
        if model.mask_decoder is not None:  # DeBERTa reads the tokens off another output than the pooler does
            found = model.outputs(batch.inputs, mask, types)
            hidden, logits = found["hidden"], found["masked"][asked]
        else:  # the output layer, most of a small encoder's work, sees only the tokens asked for
            hidden = model.hidden(batch.inputs, mask, types)  # [B,T,D]
            logits = model.masked(hidden[asked], model.embedding.word.weight)  # [M,V]
        loss = F.cross_entropy(logits.float(), batch.targets[asked], reduction="sum") / divisor
        if not self.next_sentence:
            return loss
        classes = model.classes(model.pooler(hidden[:, 0]))  # [B,2]
        nats = F.cross_entropy(classes.float(), batch.extra["next"], reduction="none")  # [B]
        return loss + (nats * batch.extra["weight"]).sum() / divisor
