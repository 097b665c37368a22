"""Losses and gradients out of all proportion: the batch is passed over, and if it stays bad the run rolls back.

A batch is judged before it changes a weight: its loss and gradient norm are known then. One bad batch is therefore
passed over and nothing else happens. Several in a row mean that the weights were damaged before: the run goes back to
its last checkpoint, passes those batches over too, and goes on at half the rate.

Which batch a step reads is a pure function of the step and of the list of batches passed over, so it is all that
is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig

Action = Literal["train", "skip", "pass over", "roll back"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """train: update the weights; skip: the step counts, without an update; pass over: the step takes another batch;
    roll back: to the last checkpoint."""

    action: Action
    why: str = ""


TRAIN = Verdict("train")


class SpikeGuard:
    """Judges every step; `position` says which batch a step reads."""

    def __init__(self, config: TrainConfig) -> None:
        self.policy = config.on_spike
        self.factor = 1.0
        """On every learning rate; halved by each roll-back."""
        self.passed: list[int] = []
        """Batches passed over, in rising order."""

    def position(self, step: int) -> int:
        """Number of the batch that step 0 .. num_steps - 1 reads."""
        place = step
        for batch in self.passed:
            place += batch <= place
        return place

    def judge(self, step: int, loss: float, norm: float) -> Verdict:
        if math.isfinite(loss) and math.isfinite(norm):
            return TRAIN
        raise UsageError(
            "The training diverged.",
            f"step {step + 1}: loss {loss}, gradient norm {norm}",
            "lower the learning rates; the last checkpoint is from before this step",
        )

    def state(self) -> dict[str, Tensor]:
        return {"passed": torch.tensor(self.passed, dtype=torch.int64), "factor": torch.tensor(self.factor, dtype=torch.float64)}  # fmt: skip

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.passed, self.factor = state["passed"].tolist(), float(state["factor"])
