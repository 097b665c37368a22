"""What is odd about a batch, against a few ordinary ones: the look at the data after a loss out of proportion.

Letters: none; tokens are counted, not placed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ownlm.train.batches import Batch

ODD = 3.0
"""A share so many times larger than in every ordinary batch, and above 2 %, is told."""


def shares(batch: Batch, known: Tensor, pairs: Tensor) -> dict[str, float]:
    """Shares in [0, 1] of the batch's tokens; known, pairs: what `known_of` found in the ordinary batches."""
    ids, follows = batch.inputs.flatten(), pairs_of(batch)
    repeats = (batch.inputs[:, 1:] == batch.inputs[:, :-1]).flatten()
    return {
        "of tokens are one and the same id": float(torch.bincount(ids).max()) / len(ids),
        "of tokens repeat the one before": _mean(repeats),
        "of tokens are ids that the ordinary batches lack": _mean(~torch.isin(ids, known)),
        "of neighbouring pairs are new": _mean(~torch.isin(follows, pairs)),
        "of targets are not trained on": _mean(batch.targets < 0),
    }


def _mean(found: Tensor) -> float:
    return float(found.float().mean()) if found.numel() else 0.0


def oddities(batch: Batch, ordinary: Sequence[Batch]) -> str:
    """One line for a notice: the shares that are out of the ordinary with the most common id, or that none is.

    Each ordinary batch is measured against the others, so that what is new in every batch is not called odd.
    """
    if not ordinary:
        return "there is no earlier batch to compare it with"
    now = shares(batch, *known_of(ordinary))
    usual: dict[str, float] = {}
    for number, one in enumerate(ordinary):
        others = [other for place, other in enumerate(ordinary) if place != number] or [one]
        for name, share in shares(one, *known_of(others)).items():
            usual[name] = max(usual.get(name, 0.0), share)
    told = [f"{share:.1%} {name} (at most {usual[name]:.1%} in {len(ordinary)} others)"
            for name, share in now.items() if share > 0.02 and _stands_out(share, usual[name])]  # fmt: skip
    if not told:
        return "its tokens look ordinary"
    counts = torch.bincount(batch.inputs.flatten())
    return "; ".join(told) + f"; most common id {int(counts.argmax())}"


def _stands_out(share: float, usual: float) -> bool:
    """Three times the usual; or, where that would be above the whole, most of what was missing to it."""
    return share > min(ODD * usual, 1 - (1 - usual) / ODD)


def pairs_of(batch: Batch) -> Tensor:
    """One number for each two neighbours."""
    return (batch.inputs[:, :-1] * (1 << 31) + batch.inputs[:, 1:]).flatten()


def known_of(batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """(ids, pairs) that occur."""
    return (
        torch.cat([batch.inputs.flatten() for batch in batches]),
        torch.cat([pairs_of(batch) for batch in batches]),
    )
