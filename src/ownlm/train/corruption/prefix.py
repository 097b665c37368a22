"""A text and the point where its prefix ends: the prefix is read both ways, the rest is asked for.

Letters: B rows, T tokens.
"""

from __future__ import annotations

import torch

from ownlm.errors import UsageError
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.objectives.cross_entropy import IGNORE


class PrefixBatches:
    """The rows of `source` with extra["prefix"]: int64 [B], each length of 1 .. T - 1 equally likely.

    The last token of the prefix is the first that is asked for its successor: those before it see theirs.
    """

    def __init__(self, source: BatchAt, seed: int) -> None:
        self.source, self.seed = source, seed

    def __call__(self, step: int) -> Batch:
        batch = self.source(step)
        B, T = batch.inputs.shape
        if T < 2:
            raise UsageError("A prefix and a rest need two tokens.", f"rows of {T}", "give a longer context")
        lengths = torch.from_numpy(generator(self.seed, "prefix", step).integers(1, T, B))  # [B]
        seen = torch.arange(T) < lengths[:, None] - 1  # [B,T]
        return Batch(
            batch.inputs, batch.targets.masked_fill(seen, IGNORE), {**batch.extra, "prefix": lengths}
        )
