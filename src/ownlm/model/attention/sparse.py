"""Sparse causal attention: each token sees a fixed pattern of earlier ones, computed by blocks in O(T * reach).

    Longformer   the last `window` tokens, and the first `num_global` ones      Beltagy et al. 2020, arXiv:2004.05150
    BigBird      in blocks: the first, the last and some random earlier ones    Zaheer et al. 2020, arXiv:2007.14062
    Blockwise    its own block and the ones just before it                      Qiu et al. 2019, arXiv:1911.02972

All are the causal forms, for the decoder: global tokens stand at the front and see what precedes them. The random
blocks of a query block come from (seed, number of the block) alone, so that a longer text changes none. What is
learned instead of fixed is in clustered.py and moba.py.

A pattern is two functions: `sees` is its definition, `key_blocks` lists blocks that cover it.

Letters: B batch, T time, L keys, N blocks of S tokens, M key blocks per query block, H query heads, K key/value heads,
G = H/K, C head width, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import dot_products, weighted_sum
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.state import check_sizes


class Pattern(Protocol):
    @property
    def block(self) -> int:
        """S."""
        ...

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """The definition: positions int64, broadcast together -> bool. Every token sees itself and none after it."""
        ...

    def key_blocks(self, num_blocks: int) -> Tensor:
        """Key blocks that hold all that query block n sees, each once: int64 [N, M], -1 where there are fewer."""
        ...


@dataclass(frozen=True, slots=True)
class Longformer:
    window: int
    """Tokens that a token sees behind it, itself included."""
    num_global: int = 0
    """Tokens at the front that all see."""
    block: int = 64
    """Tokens computed together; changes nothing but speed."""

    def __post_init__(self) -> None:
        check_sizes(self, "window", "block")
        _no_less_than_zero(self, "num_global")

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        back = query - key
        return (back >= 0) & ((back < self.window) | (key < self.num_global))

    def key_blocks(self, num_blocks: int) -> Tensor:
        reach = -(-(self.window - 1) // self.block)
        return _first_and_last(num_blocks, -(-self.num_global // self.block), reach + 1)


@dataclass(frozen=True, slots=True)
class BigBird:
    block: int
    """Tokens per block."""
    num_local: int = 3
    """Blocks: its own and those just before."""
    num_global: int = 1
    """Blocks at the front that all see."""
    num_random: int = 1
    """Blocks drawn from the rest."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self, "block", "num_local")
        _no_less_than_zero(self, "num_global", "num_random")

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        mine, other = query // self.block, key // self.block
        near = (mine - other < self.num_local) | (other < self.num_global)
        drawn = _drawn(self, int(mine.max()) + 1).to(query.device)[mine]  # [..., R]
        return (key <= query) & (near | (drawn == other[..., None]).any(-1))

    def key_blocks(self, num_blocks: int) -> Tensor:
        fixed = _first_and_last(num_blocks, self.num_global, self.num_local)
        return torch.cat((fixed, _drawn(self, num_blocks)), dim=1)


@lru_cache(maxsize=64)
def _drawn(pattern: BigBird, num_blocks: int) -> Tensor:
    """The random blocks of each query block, int64 [N, R], -1 where there are not so many left."""
    drawn = torch.full((num_blocks, pattern.num_random), -1)
    for n in range(num_blocks):
        rest = n - pattern.num_local + 1 - pattern.num_global  # blocks between the global and the local ones
        if rest > 0:
            generator = torch.Generator().manual_seed(pattern.seed * 1_000_003 + n)
            found = torch.randperm(rest, generator=generator)[: pattern.num_random] + pattern.num_global
            drawn[n, : len(found)] = found
    return drawn


@dataclass(frozen=True, slots=True)
class Blockwise:
    block: int
    """Tokens per block."""
    before: int = 0
    """Blocks before its own that a token sees."""

    def __post_init__(self) -> None:
        check_sizes(self, "block")
        _no_less_than_zero(self, "before")

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query // self.block - key // self.block <= self.before)

    def key_blocks(self, num_blocks: int) -> Tensor:
        return _first_and_last(num_blocks, 0, self.before + 1)


def _no_less_than_zero(spec: object, *names: str) -> None:
    wrong = [f"{name} = {getattr(spec, name)}" for name in names if getattr(spec, name) < 0]
    if wrong:
        raise UsageError("A pattern cannot have fewer than none.", ", ".join(wrong), "give 0 or more")


def _first_and_last(num_blocks: int, first: int, last: int) -> Tensor:
    """The `first` blocks of the text and the `last` ones up to each block, none twice or ahead: int64 [N, M]."""
    n = torch.arange(num_blocks)[:, None]
    front = torch.arange(min(first, num_blocks)).expand(num_blocks, -1)
    recent = n - torch.arange(min(last, num_blocks))
    front = front.masked_fill(front > n, -1)
    return torch.cat((front, recent.masked_fill(recent < first, -1)), dim=1)


def pattern_mask(pattern: Pattern, num_tokens: int) -> Tensor:
    """The whole pattern, bool [T, T], True where row i sees column j."""
    at = torch.arange(num_tokens)
    return pattern.sees(at[:, None], at[None, :])


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, scale: float) -> Tensor:
    """Attention of a whole text under a pattern: q [B,H,T,C], k and v [B,K,T,C] -> [B,H,T,C].

    Scores are N x S x (M S) numbers per head: linear in T for patterns of constant M. Nothing is T x T.
    """
    B, H, T, C = q.shape
    K, S = k.shape[1], pattern.block
    N = -(-T // S)
    # Zeros behind the end: no real token sees them, and each of them sees itself, so no row is empty.
    q, k, v = (F.pad(t, (0, 0, 0, N * S - T)) for t in (q, k, v))
    blocks = pattern.key_blocks(N).to(q.device)  # [N,M]
    blocks = blocks[:, (blocks >= 0).any(0)]
    M = blocks.shape[1]
    keys, values = (
        t.view(B, K, N, S, C)[:, :, blocks.clamp(min=0)].reshape(B, K, 1, N, M * S, C) for t in (k, v)
    )
    scores = q.view(B, K, H // K, N, S, C) * scale @ keys.transpose(-1, -2)  # [B,K,G,N,S,MS]
    at = torch.arange(N * S, device=q.device).view(N, S)
    key_at = at[blocks.clamp(min=0)].reshape(N, 1, M * S)
    there = (blocks >= 0).repeat_interleave(S, dim=1)[:, None]  # [N,1,MS]
    mask = pattern.sees(at[:, :, None], key_at) & there  # [N,S,MS]
    mixed = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ values  # [B,K,G,N,S,C]
    return mixed.reshape(B, H, N * S, C)[:, :, :T]


@dataclass(frozen=True, slots=True)
class Sparse:
    """Grouped-query attention under a pattern."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    pattern: Longformer | BigBird | Blockwise
    rope: Rope | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "num_kv_heads", "head_dim")
        if self.num_heads % self.num_kv_heads:
            raise UsageError("num_heads must be a multiple of num_kv_heads.", str(self), "change one of them")

    def build(self, width: int, layer: int) -> SparseAttention:
        return SparseAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return 2 * width * (self.num_heads + self.num_kv_heads) * self.head_dim

    def active_parameters(self, width: int) -> int:
        return self.num_parameters(width)

    def mixing_flops(self, context: int) -> int:
        """Over the gathered blocks of the last query block, which sees the most."""
        num_blocks = -(-context // self.pattern.block)
        seen = int((self.pattern.key_blocks(num_blocks)[-1] >= 0).sum()) * self.pattern.block
        return 4 * self.num_heads * self.head_dim * min(context, seen)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """All keys are kept: a later block may see any."""
        return 2 * self.num_kv_heads * self.head_dim * dtype_bytes


class SparseAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B H T L", "mixed": "B H T C"}

    def __init__(self, spec: Sparse, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]; without a cache x is a whole text.

        A first chunk in a new cache is computed by blocks too, a single token reads the keys that it sees, and a
        later chunk of T tokens after L - T others forms T x L scores.
        """
        B, T, _ = x.shape
        C = self.spec.head_dim
        q, k, v = (m(x).view(B, T, -1, C).transpose(1, 2) for m in (self.q, self.k, self.v))  # [B,H or K,T,C]
        if place.cos is not None and place.sin is not None and self.spec.rope is not None:
            pairs = self.spec.rope.interleaved
            q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,K,L,C]
        # A plain cache that was empty holds just this text; another one may hold padding.
        whole = cache is None or (isinstance(cache, DecodeCache) and k.shape[2] == T)
        if whole and not self.watched("pattern"):
            mixed = blocked_attention(q, k, v, self.spec.pattern, C**-0.5)
        else:
            mixed = self._masked(q, k, v, place)
        mixed = self.tap("mixed", mixed)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, place: Place) -> Tensor:
        """The definition, for decoding and for whoever looks at the pattern: scores are T x L."""
        mask = self.spec.pattern.sees(place.positions[:, :, None], place.keys[:, None, :])[
            :, None
        ]  # [B or 1,1,T,L]
        mask = mask if place.mask is None else mask & place.mask
        if not self.watched("pattern") and len(mask) == 1 and q.shape[2] == 1:
            seen = mask[0, 0, 0].nonzero()[:, 0]  # a single token reads no more than it sees
            k, v, mask = k[:, :, seen], v[:, :, seen], mask[..., seen]
        scores = (dot_products(q, k) * self.spec.head_dim**-0.5).masked_fill(~mask, float("-inf"))
        return weighted_sum(self.tap("pattern", scores.softmax(-1)), v)
