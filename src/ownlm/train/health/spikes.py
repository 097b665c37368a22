"""Losses and gradients out of all proportion: the batch is passed over, and if it stays bad the run rolls back.

A batch is judged before it changes a weight: its loss and gradient norm are known then. One bad batch is therefore
passed over and nothing else happens. Several in a row mean that the weights were damaged before: the run goes back to
its last checkpoint, passes those batches over too, and goes on at half the rate (the remedy of PaLM, Chowdhery et al.
2022, arXiv:2204.02311, section 5.1, with the rate halved besides).

    out of all proportion:  loss > m + max(10 sigma, 0.5 nats, m / 4)
                       or   norm > max(20 median, median + 20 sigma, 10 x the clipping norm)

    m: median loss of the last 8 batches that were trained on (the loss falls, older ones say nothing of now)
    sigma = 1.4826 x the median distance from the median, over the last 64: of loss - m, which a steadily falling loss
            does not widen; of the norms

The first 16 batches have nothing to be compared with: there only what is not finite is bad. Bad for good, in spite of
every recovery: the run ends with an error. Which batch a step reads is a pure function of the step and of the list of
batches passed over; with the window of the last losses that is all that is kept, and all that a resume needs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ownlm.train.config import TrainConfig

Action = Literal["train", "skip", "pass over", "roll back", "stop"]

WINDOW = 64
NEAR = 8
"""Batches that the loss is compared with."""
FEWEST = 16
"""Batches that a judgement needs."""
IN_A_ROW = 3
"""So many bad batches one after the other are the weights' fault."""
MAX_RECOVERIES = 3
"""Roll-backs of one run."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """train: update the weights; skip: the step counts, without an update; pass over: the step takes another batch;
    roll back: to the last checkpoint; stop: the run has failed."""

    action: Action
    why: str = ""


TRAIN = Verdict("train")


class SpikeGuard:
    """Judges every step; `position` says which batch a step reads. A Part of the checkpoint."""

    def __init__(self, config: TrainConfig) -> None:
        self.policy, self.clip = config.on_spike, config.clip or 0.0
        self.factor = 1.0
        """On every learning rate; halved by each roll-back."""
        self.passed: list[int] = []
        """Batches passed over, in rising order."""
        self.num_recoveries = 0
        self.window: list[tuple[float, float, float]] = []
        """(loss, norm, loss - m) of the last batches trained on."""
        self.bad: list[int] = []
        """Batches passed over since the last one trained on."""
        self._rolling_back = False

    def position(self, step: int) -> int:
        """Number of the batch that step 0 .. num_steps - 1 reads."""
        place = step
        for batch in self.passed:
            place += batch <= place
        return place

    def judge(self, step: int, loss: float, norm: float) -> Verdict:
        """Whether the gradients of this step may change the weights; remembers the answer."""
        why = self._wrong(loss, norm)
        if why is None:
            return self._accept(loss, norm)
        if self.policy == "stop":
            return Verdict("stop", why)
        batch = self.position(step)
        self.passed = sorted([*self.passed, batch])
        self.bad.append(batch)
        if len(self.bad) < IN_A_ROW:
            return Verdict("pass over", f"{why}; batch {batch} is passed over")
        if self.num_recoveries == MAX_RECOVERIES:
            return Verdict("stop", f"{why}; after {MAX_RECOVERIES} roll-backs")
        self.num_recoveries += 1
        self.factor /= 2
        self._rolling_back = True
        return Verdict("roll back", f"{why}, the third batch in a row; batches {', '.join(map(str, self.bad))} are passed over, and "
                                    f"the run goes back to its last checkpoint, at {self.factor:g} of the rate")  # fmt: skip

    def _accept(self, loss: float, norm: float) -> Verdict:
        why = f"after passing over batch {', '.join(map(str, self.bad))}" if self.bad else ""
        self.bad = []
        above = loss - self._usual() if self.window else 0.0
        self.window = [*self.window[1 - WINDOW :], (loss, norm, above)]
        return Verdict("train", why)

    def _wrong(self, loss: float, norm: float) -> str | None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"loss {loss}, gradient norm {norm}"
        if self.policy == "ignore" or len(self.window) < FEWEST:
            return None
        middle = self._usual()
        _, spread = centre([row[2] for row in self.window])
        if loss > middle + max(10 * spread, 0.5, abs(middle) / 4):
            return f"loss {loss:.4f} where the last {NEAR} batches had {middle:.4f}"
        middle, spread = centre([row[1] for row in self.window])
        if norm > max(20 * middle, middle + 20 * spread, 10 * self.clip):
            return f"gradient norm {norm:.4g} where the last {len(self.window)} batches had {middle:.4g}"
        return None

    def _usual(self) -> float:
        """m."""
        return statistics.median(row[0] for row in self.window[-NEAR:])

    def state(self) -> dict[str, Tensor]:
        return {
            "passed": torch.tensor(self.passed, dtype=torch.int64),
            "bad": torch.tensor(self.bad, dtype=torch.int64),
            "factor": torch.tensor(self.factor, dtype=torch.float64),
            "num_recoveries": torch.tensor(self.num_recoveries),
            "window": torch.tensor(self.window, dtype=torch.float64).reshape(-1, 3),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """After a roll-back only the window is of the checkpoint: what was learned on the way stays known."""
        self.window = [(loss, norm, above) for loss, norm, above in state["window"].tolist()]
        if not self._rolling_back:
            self.passed, self.factor = state["passed"].tolist(), float(state["factor"])
            self.num_recoveries = int(state["num_recoveries"])
        self.bad = [] if self._rolling_back else state["bad"].tolist()
        self._rolling_back = False


def centre(values: Sequence[float]) -> tuple[float, float]:
    """(median, 1.4826 x median distance from it): mean and standard deviation that no single outlier moves."""
    middle = statistics.median(values)
    return middle, 1.4826 * statistics.median(abs(value - middle) for value in values)
