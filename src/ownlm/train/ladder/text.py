"""The text of a ladder, and the part of it that is never trained on.

Letters: T tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ownlm.data.shards import Shards
from ownlm.errors import DataError
from ownlm.train.batches import Batch
from ownlm.train.objectives.causal import Causal


@dataclass(frozen=True, slots=True)
class LadderText:
    """`train` and `heldout` are ids of one vocabulary, unsigned."""

    train: np.ndarray
    heldout: np.ndarray
    vocab_size: int
    source: str


def read(path: Path) -> tuple[np.ndarray, int]:
    """(ids, vocabulary size): of token shards by their prefix, or of a text file as its bytes, vocabulary 256.

    Raises DataError where there is neither.
    """
    if path.with_name(path.name + ".index.json").exists():
        shards = Shards(path)
        return np.asarray(shards.tokens), shards.info.vocab_size
    if path.is_file():
        return np.fromfile(path, dtype=np.uint8), 256
    raise DataError(
        "There is no text here.", str(path), "give a prefix of `ownlm data shards`, or a text file"
    )


def split(tokens: np.ndarray, vocab_size: int, heldout_tokens: int, context: int, source: str) -> LadderText:
    """Cut pieces of 8 windows out of the text at even distances until they hold `heldout_tokens`; train is the rest,
    joined. Both are copies in memory. Raises DataError when less than half would be left to train on."""
    piece = 8 * context + 1
    number = max(1, heldout_tokens // piece)
    if number * piece * 2 > len(tokens):
        raise DataError(
            "There is too little text for that much held-out text.",
            f"{len(tokens):,} tokens, {number * piece:,} of them held out",
            "give more text, or a smaller heldout_tokens",
        )
    starts = np.linspace(0, len(tokens) - piece, number + 2, dtype=np.int64)[1:-1]
    kept = np.ones(len(tokens), dtype=bool)
    for start in starts:
        kept[start : start + piece] = False
    return LadderText(tokens[kept], tokens[~kept], vocab_size, source)


@torch.no_grad()
def heldout_loss(model: Any, tokens: np.ndarray, context: int, rows: int = 32) -> tuple[float, float]:
    """(mean, standard error over windows) of -log p(next token), nats, in windows of T = context that do not overlap.

    The model is evaluated as it is, in its own precision. What is left behind the last whole window is not scored.
    """
    number = (len(tokens) - 1) // context
    losses = []
    device = next(model.parameters()).device
    for first in range(0, number, rows):
        starts = range(first * context, min(first + rows, number) * context, context)
        both = torch.from_numpy(
            np.stack([tokens[s : s + context + 1] for s in starts]).astype(np.int64)
        )  # [B,T+1]
        batch = Batch(both[:, :-1], both[:, 1:].contiguous()).to(device)
        losses += [
            float(Causal()(model, batch.rows(row, row + 1), context)) for row in range(len(batch.inputs))
        ]
    found = np.array(losses)
    return float(found.mean()), float(found.std(ddof=1) / len(found) ** 0.5) if len(found) > 1 else 0.0
