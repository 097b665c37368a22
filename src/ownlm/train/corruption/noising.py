"""Tokens vanish at a random time, for masked diffusion (model/diffusion_loss.py has the bound and its sources).

Letters: B rows, T tokens, M masked tokens.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ownlm.errors import DataError, UsageError
from ownlm.model.diffusion_loss import Schedule, noised, times
from ownlm.runtime.seed import derive
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.objectives.cross_entropy import IGNORE

Drawing = Literal["counts", "times"]


class NoisedBatches:
    """The rows of `source`, partly masked: inputs int64 [B, T] with mask_id, targets the masked tokens.

    extra["weight"] float32 [B]: what each masked token of a row counts, times M / (B T) of the step, so that the sum
    divided by the step's M masked tokens is the bound in nats per token of text. `counts`: l masks with l uniform in 1 .. T, weight T / l (LLaDA,
    arXiv:2502.09992, eq. 6), less variance. `times`: one time per row, spread evenly over the batch, weight by `schedule`.
    """

    def __init__(
        self,
        source: BatchAt,
        *,
        mask_id: int,
        seed: int,
        drawing: Drawing = "counts",
        schedule: Schedule | None = None,
    ) -> None:
        """schedule: of `times`; None: linear."""
        self.source, self.mask_id, self.seed, self.drawing = source, mask_id, seed, drawing
        self.schedule = schedule or Schedule()
        if drawing not in get_args(Drawing) or (schedule is not None and drawing == "counts"):
            raise UsageError("This drawing of noise is not possible.", f"drawing = {drawing!r}, schedule = {schedule}",
                             'use "counts" without a schedule, or "times"')  # fmt: skip

    def __call__(self, step: int) -> Batch:
        """Raises DataError when the text holds the mask, or nothing at all was masked."""
        ids = self.source(step).inputs
        if bool((ids == self.mask_id).any()):
            raise DataError(
                "The text holds the mask.", f"step {step}, id {self.mask_id}", "reserve an id for it"
            )
        random = torch.Generator().manual_seed(derive(self.seed, "noise", step))
        shown, weight = self._noised(ids, random)
        asked = torch.where(shown == self.mask_id, ids, IGNORE)
        if bool((asked == IGNORE).all()):
            raise DataError("No token of a batch was masked.", f"step {step}, {ids.numel()} tokens",
                            'use larger batches, or drawing="counts"')  # fmt: skip
        return Batch(shown, asked, {"weight": weight * ((asked != IGNORE).sum() / ids.numel())})

    def _noised(self, ids: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """(ids with masks [B, T], weight of each row's masked tokens [B])."""
        B, T = ids.shape
        if self.drawing == "counts":
            count = torch.randint(1, T + 1, (B, 1), generator=random)
            rank = torch.rand(ids.shape, generator=random).argsort(dim=1).argsort(dim=1)
            return torch.where(rank < count, self.mask_id, ids), T / count[:, 0]
        t = times(B, random)
        return noised(ids, self.schedule.alpha(t), self.mask_id, random), self.schedule.weight(t)
