"""Where the tokens of one forward pass stand, as one layer sees it; and what a layer may keep between passes.

Letters: B batch, T time (new tokens), L keys to attend to, K key/value heads, C head width, R rotated width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

PLAIN_MAX_TOKENS = 512
"""Up to this length attention is plain matrix products and a softmax, in blocks of queries (attention/grouped.py); beyond
it, torch's flash kernel, whose backward on CPU takes longer (float32: 1.2 times at 512 tokens) but keeps no T x T scores.
"""


class Place(NamedTuple):
    """Layers of equal reach and equal rotation share one: it is made once per forward."""

    positions: Tensor  # int64 [B or 1, T]: of the new tokens
    keys: Tensor  # int64 [B or 1, L]: of the keys that attention will see
    mask: (
        Tensor | None
    )  # bool [B or 1, 1, T, L], True where a token may look; None: see `causal_mask`, `Cache.mask`
    cos: Tensor | None = None  # float32 [B or 1, 1, T, R]; None in layers without rotary positions
    sin: Tensor | None = None


class Cache(Protocol):
    """Keys and values of earlier tokens, as attention sees them. Training passes none.

    The engine brings its own; `DecodeCache` is the plain one. Mixers that keep something else than keys and
    values (a recurrence) also need `state` and `keep`, which only a cache of the latter kind has.
    """

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k [B, K, T, C] and v [B, K, T, C'] of the new tokens; return all that are kept, [B, K, L, ...]."""
        ...

    def mask(self, window: int | None = None) -> Tensor | None:
        """True where a new token may look, at most `window` tokens back, itself included: bool [B, 1, T, L];
        None when every token may see every key."""
        ...

    def keys(self, window: int | None = None) -> Tensor:
        """Positions of the L keys that `update` returns to a layer of this window: int64 [B or 1, L]."""
        ...


class DecodeCache:
    """State of a batch of sequences that grow together, from nothing: the readable cache.

    A layer with a window keeps its last `window` - 1 tokens and no more; one without keeps all. `begin(T, device)`
    announces the T tokens of a forward, `end()` closes it: `Decoder.hidden` calls both.
    """

    def __init__(self, windows: Sequence[int | None]) -> None:
        """windows: of each layer, in tokens; None where it sees everything."""
        self.windows = tuple(windows)
        self.length = 0  # tokens seen by every layer
        self._new, self._device = 0, torch.device("cpu")
        self._pairs: dict[int, tuple[Tensor, Tensor]] = {}
        self._states: dict[int, Any] = {}

    def begin(self, num_tokens: int, device: torch.device) -> Tensor:
        """The positions of the next `num_tokens` tokens, int64 [1, T]."""
        self._new, self._device = num_tokens, device
        return torch.arange(self.length, self.length + num_tokens, device=device)[None]

    def end(self) -> None:
        self.length += self._new
        self._new = 0

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if layer in self._pairs:
            old_k, old_v = self._pairs[layer]
            k, v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        window = self.windows[layer]
        first = 0 if window is None else max(0, k.shape[2] - (window - 1))
        # A copy where something falls away, so that the forgotten part is really freed.
        self._pairs[layer] = (k, v) if not first else (k[:, :, first:].clone(), v[:, :, first:].clone())
        return k, v

    def keys(self, window: int | None = None) -> Tensor:
        old = self.length if window is None else min(self.length, window - 1)
        return torch.arange(self.length - old, self.length + self._new, device=self._device)[None]

    def mask(self, window: int | None = None) -> Tensor | None:
        if self._new == 1:
            return None  # whatever is kept may be seen
        keys = self.keys(window)
        return visible(keys[:, -self._new :], keys, window)

    def state(self, layer: int) -> Any:
        """What the layer kept, None at the start. Its form is the layer's own affair."""
        return self._states.get(layer)

    def keep(self, layer: int, state: Any) -> None:
        self._states[layer] = state

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors held now."""
        return sum(_bytes(kept) for kept in (*self._pairs.values(), *self._states.values()))


def _bytes(kept: Any) -> int:
    if isinstance(kept, Tensor):
        return kept.nbytes
    if isinstance(kept, dict):
        return sum(map(_bytes, kept.values()))
    return sum(map(_bytes, kept)) if isinstance(kept, list | tuple) else 0


def visible(positions: Tensor, keys: Tensor, window: int | None = None) -> Tensor:
    """Causal, at most `window` back: bool [B or 1, 1, T, L] from positions [B or 1, T] and keys [B or 1, L]."""
    back = positions[:, None, :, None] - keys[:, None, None, :]
    return back >= 0 if window is None else (back >= 0) & (back < window)


def causal_mask(num_tokens: int, device: torch.device, window: int | None = None) -> Tensor | None:
    """The mask that chooses plain attention, bool [1, 1, T, T]; None (choose flash) above PLAIN_MAX_TOKENS.

    A window that is shorter than the text always needs its mask.
    """
    if window is not None and window < num_tokens:
        positions = torch.arange(num_tokens, device=device)[None]
        return visible(positions, positions, window)
    if num_tokens > PLAIN_MAX_TOKENS:
        return None
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()[None, None]
