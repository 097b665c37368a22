"""Who may look at whom, other than causally: a cache that keeps nothing and only answers with a mask.

    prefix 3 of 6:  x x x . . .      documents 0 0 0 1 1 1:  x . . . . .
                    x x x . . .                              x x . . . .
                    x x x . . .                              x x x . . .
                    x x x x . .                              . . . x . .
                    x x x x x .                              . . . x x .
                    x x x x x x                              . . . x x x

`Decoder.hidden` asks its cache for the mask, so the decoder itself stays as it is. The price: attention runs through
torch's kernel with a mask, not through the plain products of `place.PLAIN_MAX_TOKENS`.

Letters: B rows, T tokens, K key/value heads, C head width, D model width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent

_OBEY = (GroupedQuery, Latent)
"""Mixers whose result depends on other tokens through `Place.mask` alone; held by tests."""


class Sight:
    """A `model.place.Cache` of the tokens of this forward alone."""

    def __init__(self, allowed: Tensor, positions: Tensor) -> None:
        """allowed bool [B, 1, T, T], True where token t (third axis) may look; positions int64 [B or 1, T]."""
        self.allowed, self.positions = allowed, positions

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k and v [B, K, T, C] as they come."""
        return k, v

    def keys(self, window: int | None = None) -> Tensor:
        """int64 [B or 1, T]."""
        return self.positions

    def mask(self, window: int | None = None) -> Tensor:
        """bool [B, 1, T, T]; a window reaches as far ahead as back."""
        if window is None:
            return self.allowed
        order = torch.arange(self.allowed.shape[-1], device=self.allowed.device)
        return self.allowed & ((order[:, None] - order).abs() < window)


def of_prefixes(lengths: Tensor, num_tokens: int) -> Sight:
    """lengths int64 [B]: the first so many tokens see each other both ways, the others all before them."""
    order = torch.arange(num_tokens, device=lengths.device)
    inside = order < lengths[:, None]  # [B,T]
    allowed = (order <= order[:, None]) | (inside[:, :, None] & inside[:, None, :])  # [B,T,T]
    return Sight(allowed[:, None], order[None])


def of_documents(documents: Tensor) -> Sight:
    """documents int64 [B, T], never falling along a row: a token sees the earlier ones of its own document, and its
    position counts from that document's first token in the row."""
    order = torch.arange(documents.shape[1], device=documents.device)
    allowed = (documents[:, :, None] == documents[:, None, :]) & (order <= order[:, None])
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    begin = torch.where(first, order, 0).cummax(dim=1).values  # [B,T]
    return Sight(allowed[:, None], order - begin)


def hidden(model: Any, ids: Tensor, sight: Sight) -> Tensor:
    """ids [B, T] -> [B, T, D] of a decoder under this sight.

    Raises UsageError for a model with a layer that learns of other tokens in another way (a recurrence, a sparse
    choice of keys): no mask would stop it.
    """
    kinds = {type(layer.mixer) for layer in model.architecture.layers}
    other = sorted(kind.__name__ for kind in kinds - set(_OBEY))
    if other:
        raise UsageError(
            "These layers do not obey a mask of who sees whom.",
            ", ".join(other),
            f"use layers of {' or '.join(kind.__name__ for kind in _OBEY)}, or batches without documents and prefixes",
        )
    found: Tensor = model.hidden(ids, sight, sight.positions.expand(len(ids), -1))
    return found
