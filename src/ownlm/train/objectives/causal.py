"""Next-token prediction, and what every objective is.

    Objective: (model, batch, divisor) -> the sum of the losses of the batch's trained tokens, divided by `divisor`

`divisor` is the number of trained tokens of the whole step, so that the pieces of a step, and the shares of several
processes, add up to the step's mean. What an objective draws at random (masks, times) comes in the batch: see
batches.py and corruption/. Letters: B rows, T tokens, N = B T, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.batches import Batch
from ownlm.train.objectives import visibility
from ownlm.train.objectives.cross_entropy import cross_entropy


class Objective(Protocol):
    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Causal:
    """-log p(next token) in nats, by the fused linear cross-entropy.

    A batch with extra["documents"] (int64 [B, T]) keeps the documents of a row apart: see visibility.py.
    """

    label_smoothing: float = 0.0
    """Share of the target's probability that is spread evenly over the vocabulary (Szegedy et al. 2015,
    arXiv:1512.00567, section 7). The loss reported is then no longer that of the text."""
    z_loss: float = 0.0
    """Weight of log(Z)^2, which keeps the logits near 0; PaLM used 1e-4 (arXiv:2204.02311, section 5)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0 or not 0.0 <= self.z_loss < float("inf"):
            raise UsageError(
                "The terms beside the cross-entropy are out of range.",
                f"label_smoothing = {self.label_smoothing}, z_loss = {self.z_loss}",
                "give label_smoothing in [0, 1) and z_loss from 0 up; usual are 0.1 and 1e-4",
            )

    def __call__(self, model: Any, batch: Batch, divisor: int) -> Tensor:
        documents = batch.extra.get("documents")
        if documents is None:
            found = model.hidden(batch.inputs)
        else:
            found = visibility.hidden(model, batch.inputs, visibility.of_documents(documents))
        return cross_entropy(
            found.flatten(0, 1), output_weight(model), batch.targets.flatten(), divisor,
            self.label_smoothing, self.z_loss,
        )  # fmt: skip


def output_weight(model: Any) -> nn.Parameter:
    """[V, D]: the output layer's matrix, or the embedding where they are one."""
    output = getattr(model, "output", None)
    weight: nn.Parameter = model.embedding.weight if output is None else output.weight
    return weight
