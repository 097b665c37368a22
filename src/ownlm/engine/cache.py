"""Keys and values of the running requests: one slot each, all memory taken at the start, none later.

A slot holds `max_context` tokens and one extra row, where batches of unequal length write their padding.
Prefix sharing and paging are not here yet: a slot belongs to one request, whole.

Letters: S slots, B rows of a batch (each one slot), T new tokens, L keys, K key/value heads, C head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SlotCache:
    """[layers][S, K, max_context + 1, C] for keys and the same for values, zeroed (masked rows must be finite)."""

    def __init__(
        self, kv_shape: tuple[int, int, int], num_slots: int, max_context: int, dtype: torch.dtype
    ) -> None:
        """kv_shape: (layers, K, C), as `Decoder.kv_shape` gives it."""
        self.num_slots, self.max_context = num_slots, max_context
        num_layers, kv_heads, head_dim = kv_shape
        shape = (num_slots, kv_heads, max_context + 1, head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype) for _ in range(num_layers)]
        self.values = [torch.zeros(shape, dtype=dtype) for _ in range(num_layers)]
        self.num_bytes = sum(t.nbytes for t in self.keys + self.values)

    def clear(self, slot: int) -> None:
        """Zero a slot. Only needed after a request that gave NaN: 0 * NaN is NaN even where the mask hides it."""
        for tensor in self.keys + self.values:
            tensor[slot].zero_()


class BatchView:
    """One forward's window on the cache: the model's `Cache` protocol for rows at different positions."""

    def __init__(self, cache: SlotCache, slots: list[int], starts: list[int], counts: list[int]) -> None:
        """Row i adds counts[i] tokens at position starts[i] of slots[i]; rows are padded to the largest count."""
        self._cache = cache
        B, T = len(slots), max(counts)
        start = torch.tensor(starts)[:, None]  # [B,1]
        offset = torch.arange(T)  # [T]
        padding = offset >= torch.tensor(counts)[:, None]  # [B,T]
        self.positions = (start + offset).masked_fill(padding, 0)  # [B,T] int64, as the model wants them
        self._length = max(s + c for s, c in zip(starts, counts, strict=True))  # L
        _, K, rows, _ = cache.keys[0].shape
        place = (start + offset).masked_fill(padding, cache.max_context)  # padding goes to the extra row
        base = (torch.tensor(slots)[:, None] * K + torch.arange(K)) * rows  # [B,K]
        self._place = (base[:, :, None] + place[:, None, :]).reshape(
            -1
        )  # [B*K*T] rows of the flattened cache
        ordered = slots == list(range(slots[0], slots[0] + B))
        self._slots: slice | Tensor = slice(slots[0], slots[0] + B) if ordered else torch.tensor(slots)
        self._mask = self._visible(starts, counts)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v [B, K, T, C] to their places; return the rows' keys and values [B, K, L, C].

        Neighbouring slots are a view; others are gathered (a copy of what attention is about to read anyway).
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        width = k.shape[-1]
        keys.view(-1, width).index_copy_(0, self._place, k.reshape(-1, width))
        values.view(-1, width).index_copy_(0, self._place, v.reshape(-1, width))
        return keys[:, :, : self._length][self._slots], values[:, :, : self._length][self._slots]

    def mask(self, window: int | None = None) -> Tensor | None:
        """Slots keep every token; a layer's window only narrows what is seen of them."""
        if window is None or self._length <= window:
            return self._mask
        near = self.positions[:, None, :, None] - torch.arange(self._length) < window  # [B,1,T,L]
        return near if self._mask is None else self._mask & near

    def keys(self, window: int | None = None) -> Tensor:
        return torch.arange(self._length)[None]

    def _visible(self, starts: list[int], counts: list[int]) -> Tensor | None:
        """True where key position <= query position: bool [B, 1, T, L]; None when all rows see all keys."""
        if max(counts) == 1 and min(starts) == max(starts):
            return None
        return (torch.arange(self._length) <= self.positions[:, :, None])[:, None]
