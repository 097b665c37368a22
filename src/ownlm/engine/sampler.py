"""Logits become tokens: greedy, temperature, top-k, top-p, under a constraint or not.

A draw is a pure function of the row's logits, the request's seed and the number of tokens generated so far:
it does not depend on the other rows of the batch, nor on how many steps it took to get here.

Letters: B rows, V vocabulary, A allowed ids.
"""

from __future__ import annotations

from collections.abc import Sequence as Ids

import numpy as np
import torch
from torch import Tensor

from ownlm.engine.sequence import Sequence
from ownlm.errors import OwnlmError


def choose(logits: Tensor, sequences: Ids[Sequence]) -> list[int | OwnlmError]:
    """One token for each row of logits [B, V] float; an error for a row that has none (NaN), and only for it."""
    scores = logits.float()
    healthy = torch.isfinite(scores.sum(-1)).tolist()  # one NaN or infinity makes the sum one
    greedy = scores.argmax(-1).tolist()
    drawn: dict[int, int] = _draw_rows(scores, sequences, healthy)
    chosen: list[int | OwnlmError] = []
    for row, sequence in enumerate(sequences):
        if not healthy[row]:
            chosen.append(_not_finite(sequence))
        elif row in drawn:
            chosen.append(drawn[row])
        elif sequence.allowed is not None:
            allowed = torch.tensor(sequence.allowed)  # [A]
            chosen.append(int(allowed[scores[row, allowed].argmax()]))
        else:
            chosen.append(greedy[row])
    return chosen


def uniform(seed: int, index: int) -> float:
    """The `index`-th number in [0, 1) of stream `seed`: Philox, a counter-based generator (Salmon et al. 2011)."""
    return float(np.random.Generator(np.random.Philox(key=seed, counter=index)).random())


def _draw_rows(scores: Tensor, sequences: Ids[Sequence], healthy: list[bool]) -> dict[int, int]:
    """Row -> token for the rows with a temperature, all in one pass over [rows, V]."""
    rows = [i for i, s in enumerate(sequences) if s.sampling.temperature > 0 and healthy[i]]
    if not rows:
        return {}
    chosen = [sequences[i] for i in rows]
    kept = scores[rows]
    for i, sequence in enumerate(chosen):
        if sequence.allowed is not None:
            allowed = torch.tensor(sequence.allowed)
            kept[i] = torch.full_like(kept[i], float("-inf")).index_copy_(0, allowed, kept[i, allowed])
    probabilities = filtered(
        kept,
        torch.tensor([s.sampling.temperature for s in chosen]),
        torch.tensor([s.sampling.top_k for s in chosen]),
        torch.tensor([s.sampling.top_p for s in chosen]),
    )
    # Inverse of the cumulative distribution in the order of ids: sorting by probability would let the last
    # bit of a logit, which differs between batches, swap two neighbours and so change the token.
    cumulative = probabilities.double().cumsum(-1)  # [B,V]
    draws = torch.tensor([uniform(s.seed, len(s.generated)) for s in chosen], dtype=torch.float64)
    target = draws[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].tolist()
    return dict(zip(rows, tokens, strict=True))


def filtered(scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Probabilities [B, V] after temperature, then top-k (0: off), then top-p (1: off), as transformers orders them.

    top-k keeps every id tied with the k-th; top-p (Holtzman et al. 2019, arXiv:1904.09751) keeps the fewest
    most probable ids that reach the mass p. Not normalized again.
    """
    scores = scores / temperature[:, None]
    width = scores.shape[-1]
    if bool((top_k > 0).any()):
        k = torch.where(top_k > 0, top_k.clamp(max=width), width)
        ordered = scores.topk(int(k.max()), dim=-1).values
        kth = ordered.gather(-1, (k - 1)[:, None])
        scores = scores.masked_fill(scores < kth, float("-inf"))
    probabilities = scores.softmax(-1)
    if bool((top_p < 1).any()):
        ordered, order = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # mass of the ids in front of this one
        dropped = (before >= top_p[:, None]) & (top_p < 1)[:, None]
        dropped[:, 0] = False
        probabilities = probabilities.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), 0.0)
    return probabilities


def _not_finite(sequence: Sequence) -> OwnlmError:
    return OwnlmError(
        "The model gave logits that are not finite numbers, so no token can be chosen.",
        f"request {sequence.id}, after {sequence.num_tokens:,} tokens",
        "check the weights with `ownlm verify`; other requests are not affected",
    )
