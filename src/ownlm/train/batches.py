"""Batches as pure functions of the step: the data position of a run is its step number, nothing else is saved.

Letters: B windows of a batch, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import DataError
from ownlm.runtime.seed import derive, generator


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step trains on. targets[b, t] is what is asked at inputs[b, t] (of a causal model the token
    after it); -100 is not trained on."""

    inputs: Tensor  # [B, T] int64
    targets: Tensor  # [B, T] int64
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What some objectives need beside: lengths of prefixes, times of noise, ids of documents. All have B rows."""

    def rows(self, start: int, stop: int) -> Batch:
        """Rows [start, stop) of everything."""
        extra = {name: value[start:stop] for name, value in self.extra.items()}
        return Batch(self.inputs[start:stop], self.targets[start:stop], extra)

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        extra = {name: value.to(device) for name, value in self.extra.items()}
        return Batch(self.inputs.to(device), self.targets.to(device), extra)


BatchAt = Callable[[int], Batch]
"""Step 0 .. num_steps - 1 to its batch. Pure: the same step, the same batch, in any process."""


class TokenShards(Protocol):
    """What is needed of `ownlm.data.shards.Shards`: all documents in one row, each behind its BOS."""

    @property
    def tokens(self) -> np.ndarray: ...  # [num_tokens] of an unsigned type, memory-mapped


class ShardBatches:
    """Windows of a packed token file: every epoch visits each window once, in an order of its own.

    Each epoch cuts the file at another offset below T, so that no token is always at a window's edge or always
    left out at the file's end. The documents of a window see each other (a BOS stands between); corruption/documents.py
    keeps them apart.
    """

    def __init__(self, tokens: np.ndarray, context: int, batch_size: int, seed: int) -> None:
        self.tokens, self.context, self.batch_size, self.seed = tokens, context, batch_size, seed
        self.num_windows = (len(tokens) - context) // context  # of every epoch, whatever its offset
        self._order: tuple[int, np.ndarray] | None = None  # the last epoch's: a cache, not a state

    def __call__(self, step: int) -> Batch:
        T = self.context
        rows = np.empty((self.batch_size, T + 1), dtype=np.int64)  # [B,T+1]
        for row, start in enumerate(self.starts(step)):
            rows[row] = self.tokens[start : start + T + 1]
        both = torch.from_numpy(rows)
        return Batch(both[:, :-1].contiguous(), both[:, 1:].contiguous())

    def starts(self, step: int) -> list[int]:
        """Offset in the tokens of the first input of each row."""
        found = []
        for row in range(self.batch_size):
            epoch, place = divmod(step * self.batch_size + row, self.num_windows)
            offset = derive(self.seed, "offset", epoch) % self.context
            found.append(offset + int(self._permutation(epoch)[place]) * self.context)
        return found

    def epochs(self, num_steps: int) -> float:
        """How often `num_steps` steps go through the text."""
        return num_steps * self.batch_size / self.num_windows

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, generator(self.seed, "windows", epoch).permutation(self.num_windows))
        return self._order[1]


def shard_batches(shards: TokenShards, context: int, batch_size: int, seed: int) -> ShardBatches:
    """`batch_at` for pretraining: B = batch_size windows of T = context tokens, int64.

    Raises DataError when the text is shorter than two windows.
    """
    if len(shards.tokens) < 2 * context:
        raise DataError(
            "There is too little text for this context length.",
            f"{len(shards.tokens):,} tokens, two windows need {2 * context:,}",
            "give more text with --data, or a smaller pretrain.context",
        )
    return ShardBatches(shards.tokens, context, batch_size, seed)
