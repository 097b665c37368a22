"""Prefix language modelling: the prefix is read both ways, the rest is written from left to right, by one decoder.

(Liu et al. 2018, arXiv:1801.10198, section 4.2.3; Raffel et al. 2019, arXiv:1910.10683, section 3.2.1.) Batches come
from corruption/prefix.py. Letters: B rows, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.objectives import visibility
from ownlm.train.objectives.causal import output_weight
from ownlm.train.objectives.cross_entropy import cross_entropy


@dataclass(frozen=True, slots=True)
class Prefix:
    """-log p of the tokens behind the prefix; extra["prefix"] int64 [B] says how long it is."""

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        """Raises UsageError for rows with documents that are to be kept apart, and without prefixes."""
        if "prefix" not in batch.extra or "documents" in batch.extra:
            raise UsageError("The rows of a prefix language model are one text with one prefix each.",
                             f"extra: {', '.join(batch.extra) or 'nothing'}", "use PrefixBatches of plain windows")  # fmt: skip
        sight = visibility.of_prefixes(batch.extra["prefix"], batch.inputs.shape[1])
        found = visibility.hidden(model, batch.inputs, sight).flatten(0, 1)
        return cross_entropy(found, output_weight(model), batch.targets.flatten(), divisor)
