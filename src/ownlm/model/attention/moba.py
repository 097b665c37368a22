"""Mixture of block attention (Lu et al. 2025, arXiv:2502.13189): a sparse pattern that is learned, causal and cached.

Each query head of each token scores every earlier block of S keys by q . mean(keys of the block), takes the best
`num_chosen` - 1 of the finished ones and its own (equations 5 and 6), and attends to those. The choice itself has no
gradient; keys and queries learn it through the attention to what was chosen. Attention costs T M S, the choice one
score per token and block, T * T / S: a small share of the square, but a share (clustered.py has none).

Letters: B batch, T time, L keys, N blocks of S tokens, M blocks chosen, H query heads, K key/value heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.state import check_sizes


@dataclass(frozen=True, slots=True)
class BlockMixture:
    """Grouped-query attention to a few blocks that each head chooses for each token."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    block: int
    """S, tokens per block."""
    num_chosen: int = 2
    """M, its own block included."""
    rope: Rope | None = None
    own_cache: ClassVar[bool] = True
    """Blocks are counted from the first token: only `Decoder.new_cache` serves."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "num_kv_heads", "head_dim", "block", "num_chosen")
        if self.num_heads % self.num_kv_heads:
            raise UsageError("num_heads must be a multiple of num_kv_heads.", str(self), "change one of them")

    def build(self, width: int, layer: int) -> BlockMixtureAttention:
        return BlockMixtureAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return 2 * width * (self.num_heads + self.num_kv_heads) * self.head_dim

    def active_parameters(self, width: int) -> int:
        return self.num_parameters(width)

    def mixing_flops(self, context: int) -> int:
        """One score per block, then the chosen keys."""
        seen = min(context, self.block * self.num_chosen)
        return self.num_heads * self.head_dim * (4 * seen + 2 * (context // self.block))

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 2 * self.num_kv_heads * self.head_dim * dtype_bytes


class BlockMixtureAttention(Tapped):
    POINTS: ClassVar = {"chosen": "B H T M", "mixed": "B H T C"}

    def __init__(self, spec: BlockMixture, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]; raises UsageError for a cache whose keys do not start at the text's first."""
        B, T, _ = x.shape
        C = self.spec.head_dim
        q, k, v = (m(x).view(B, T, -1, C).transpose(1, 2) for m in (self.q, self.k, self.v))  # [B,H or K,T,C]
        if place.cos is not None and place.sin is not None and self.spec.rope is not None:
            pairs = self.spec.rope.interleaved
            q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
        if cache is not None:
            if not isinstance(cache, DecodeCache):
                raise UsageError("Blocks are counted from the first token, and this cache may have lost it.", f"cache {type(cache).__name__}",
                                 "decode this model with model.new_cache()")  # fmt: skip
            k, v = cache.update(self.layer, k, v)
        chosen = self.tap("chosen", choose(q, k, self.spec))  # [B,H,T,M]
        mixed = self.tap("mixed", attend_chosen(q, k, v, chosen, self.spec.block))
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out


@torch.no_grad()
def choose(q: Tensor, k: Tensor, spec: BlockMixture) -> Tensor:
    """The last T of L tokens choose: q [B, H, T, C], k [B, K, L, C] -> block numbers int64 [B, H, T, M], -1 for none."""
    T, L, S = q.shape[2], k.shape[2], spec.block
    own = torch.arange(L - T, L, device=q.device) // S  # [T]
    chosen = own.expand(*q.shape[:3])[..., None]  # [B,H,T,1]
    full, M = L // S, min(spec.num_chosen - 1, L // S)
    if M:
        means = (
            k[:, :, : full * S]
            .view(*k.shape[:2], full, S, -1)
            .mean(3)
            .repeat_interleave(q.shape[1] // k.shape[1], 1)
        )
        ahead = torch.arange(full, device=q.device) >= own[:, None]  # [T,N]
        best = (q @ means.transpose(-1, -2)).masked_fill(ahead, float("-inf")).topk(M, -1)
        chosen = torch.cat((chosen, best.indices.masked_fill(best.values == float("-inf"), -1)), dim=-1)
    return F.pad(chosen, (0, spec.num_chosen - chosen.shape[-1]), value=-1)


def attend_chosen(q: Tensor, k: Tensor, v: Tensor, chosen: Tensor, block: int) -> Tensor:
    """q [B, H, T, C] to the keys of its blocks, k and v [B, K, L, C], chosen [B, H, T, M] -> [B, H, T, C].

    S queries at a time gather their own M S keys: memory beside the result does not grow with T for inference.
    """
    B, H, T, C = q.shape
    K, L, S = k.shape[1], k.shape[2], block
    N = -(-L // S)
    k, v = (F.pad(t, (0, 0, 0, N * S - L)).view(B, K, N, S, C) for t in (k, v))
    row = torch.arange(B, device=q.device)[:, None, None, None]
    head = (torch.arange(H, device=q.device) // (H // K))[:, None, None]
    done = []
    for first in range(0, T, S):
        some = slice(first, min(T, first + S))
        blocks = chosen[:, :, some]  # [B,H,t,M]
        keys, values = (t[row, head, blocks.clamp(min=0)].flatten(3, 4) for t in (k, v))  # [B,H,t,MS,C]
        at = blocks[..., None] * S + torch.arange(S, device=q.device)  # [B,H,t,M,S]
        query_at = torch.arange(L - T, L, device=q.device)[some]
        mask = ((blocks[..., None] >= 0) & (at <= query_at[:, None, None])).flatten(3)  # [B,H,t,MS]
        scores = torch.einsum("bhtc,bhtlc->bhtl", q[:, :, some], keys) * C**-0.5
        done.append(
            torch.einsum("bhtl,bhtlc->bhtc", scores.masked_fill(~mask, float("-inf")).softmax(-1), values)
        )
    return torch.cat(done, dim=2)
