"""Scaled dot-product attention from scratch (Vaswani et al. 2017, arXiv:1706.03762, equation 1), with its masks.

The readable definition that every faster path is held against; the everyday path is torch's
`scaled_dot_product_attention`. A mask is True (allowed) for j <= i, or additively 0 there and -inf for j > i.

Letters: B batch, H heads, T queries, L keys, C head width, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.place import Place


def causal(num_queries: int, num_keys: int | None = None, device: torch.device | None = None) -> Tensor:
    """bool [T, L], True where query i may see key j. With more keys than queries the last query is the last key."""
    num_keys = num_queries if num_keys is None else num_keys
    if num_keys < num_queries:
        raise UsageError("Some queries come before the first key.", f"{num_queries} queries, {num_keys} keys", "give all keys")  # fmt: skip
    query = torch.arange(num_keys - num_queries, num_keys, device=device)
    return query[:, None] >= torch.arange(num_keys, device=device)


def padding(lengths: Tensor, num_keys: int) -> Tensor:
    """lengths int64 [B] of right-padded rows -> bool [B, 1, 1, L], True for real keys."""
    return (torch.arange(num_keys, device=lengths.device) < lengths[:, None])[:, None, None]


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(scale q k^T) v: q [..., T, C], k [..., L, C], v [..., L, C'] -> ([..., T, C'], weights [..., T, L]).

    mask: bool, broadcast to [..., T, L], True where a query may look; scale: C ** -0.5 where None.
    A query that may see nothing gets weights and output of zero, as in torch. Raises UsageError for another mask.
    """
    scores = torch.einsum("...tc,...lc->...tl", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        if mask.dtype != torch.bool:
            raise UsageError("An attention mask holds truth values.", str(mask.dtype), "True where a query may look")  # fmt: skip
        scores = scores.masked_fill(~mask, float("-inf"))
    # A row of -inf has no maximum to subtract: 0 instead keeps it free of NaN, also in the gradient.
    highest = scores.detach().amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    e = torch.exp(scores - highest)  # [...,T,L]
    weights = e / e.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    return torch.einsum("...tl,...lc->...tc", weights, v), weights


def single_head(
    x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One head of self-attention: x [B, T, D], matrices q and k [D, C], v [D, C'] -> ([B, T, C'], weights [B, T, T]).

    mask: bool, broadcast to [B, T, T]."""
    return attention(x @ q, x @ k, x @ v, mask)


def entropy(weights: Tensor) -> Tensor:
    """Of each row in nats: [..., T, L] -> [..., T]; 0 for one sure key, log n for n equal ones."""
    return -torch.special.xlogy(weights, weights).sum(-1)


def sink_mass(weights: Tensor) -> Tensor:
    """The mean weight that later queries give to the first key: [..., H, T, T] of causal attention -> [..., H].

    The first token, which sees nothing else, is left out. (Xiao et al. 2023, arXiv:2309.17453.)"""
    if weights.shape[-2] < 2:
        raise UsageError(
            "The sink is measured on later tokens.", f"{weights.shape[-2]} token", "give two or more"
        )
    return weights[..., 1:, 0].mean(-1)


def allowed(place: Place, num_queries: int) -> Tensor | None:
    """The mask of a place with its unspoken causality written out: bool [B or 1, 1, T, L]; None: all may be seen."""
    if place.mask is not None or num_queries == 1:
        return place.mask
    return place.positions[:, None, :, None] >= place.keys[:, None, None, :]
