"""Next-token prediction, and what every objective is.

    Objective: (model, batch, divisor) -> the sum of the losses of the batch's trained tokens, divided by `divisor`

`divisor` is the number of trained tokens of the whole step, so that the pieces of a step, and the shares of several
processes, add up to the step's mean. What an objective draws at random (masks, times) comes in the batch: see
batches.py. Letters: B rows, T tokens, N = B T, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import cross_entropy


class Objective(Protocol):
    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Causal:
    """-log p(next token) in nats, by the fused linear cross-entropy."""

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        hidden = model.hidden(batch.inputs).flatten(0, 1)  # [N,D]
        return cross_entropy(hidden, output_weight(model), batch.targets.flatten(), divisor)


def output_weight(model: Any) -> nn.Parameter:
    """[V, D]: the output layer's matrix, or the embedding where they are one."""
    output = getattr(model, "output", None)
    weight: nn.Parameter = model.embedding.weight if output is None else output.weight
    return weight
