"""Attention within learned clusters, the Routing Transformer's causal form (Roy et al. 2020, arXiv:2003.05997).

Queries are the keys ("shared QK", algorithm 1): r = LayerNorm(k(x)) without trained scale. Each head has centroids; a
token belongs to the nearest (largest r . centroid) and sees the last `reach` tokens of its cluster, itself included:

    out_i = sum over j of softmax(r_i . r_j / sqrt(C)) v_j,     j <= i in the cluster of i

Sorted by cluster, and by time within, that is a band of width `reach`: T * reach scores, nothing T x T. Two things
differ from the paper. It takes for each centroid the T / n nearest tokens of the whole text, a choice in which later
tokens displace earlier ones; ours depends on the past alone. And centroids move to the mean of their tokens instead
of the sum (equation 13), so that the pace does not depend on the length. They move in training, at each forward;
a forward that is computed twice (activations not kept) would move them twice.

Letters: B batch, T time, L keys, D model width, H heads, C head width, n clusters, N blocks of S tokens (S = reach).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import dot_products, weighted_sum
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.state import check_sizes

MAX_CLUSTERS = 256
"""bfloat16 holds whole numbers exactly up to here: the cache keeps a key's cluster beside the key."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Multi-head attention within clusters."""

    num_heads: int
    head_dim: int
    num_clusters: int
    reach: int
    """Tokens of its cluster that a token sees, itself included."""
    rope: Rope | None = None
    decay: float = 0.999
    """Of the centroids' moving average."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "num_clusters", "reach")
        if self.num_clusters > MAX_CLUSTERS or not 0 <= self.decay <= 1:
            raise UsageError("These clusters cannot be kept.", f"num_clusters = {self.num_clusters}, decay = {self.decay}",
                             f"at most {MAX_CLUSTERS} clusters, a decay from 0 to 1")  # fmt: skip

    def build(self, width: int, layer: int) -> RoutingAttention:
        return RoutingAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        """Centroids are not trained by gradients; they are no parameters."""
        return 3 * width * self.num_heads * self.head_dim

    def active_parameters(self, width: int) -> int:
        return self.num_parameters(width)

    def mixing_flops(self, context: int) -> int:
        """A score per centroid, then the keys in reach."""
        return self.num_heads * self.head_dim * (4 * min(context, self.reach) + 2 * self.num_clusters)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Key, value and the number of the cluster."""
        return self.num_heads * (2 * self.head_dim + 1) * dtype_bytes


class Clusters(nn.Module):
    """Online k-means of each head."""

    centroids: Tensor

    def __init__(self, spec: Routing) -> None:
        super().__init__()
        self.decay = spec.decay
        start = torch.zeros(spec.num_heads, spec.num_clusters, spec.head_dim)
        self.register_buffer("centroids", start)  # [H,n,C]

    def initialize(self, generator: torch.Generator) -> None:
        """Random directions as long as a normed key."""
        self.centroids.normal_(generator=generator)
        self.centroids.copy_(F.layer_norm(self.centroids, self.centroids.shape[-1:]))

    @torch.no_grad()
    def forward(self, r: Tensor) -> Tensor:
        """r [B, H, T, C] -> the cluster of each token, int64 [B, H, T]; in training the centroids then move."""
        cluster = (r @ self.centroids.to(r.dtype).transpose(-1, -2)).argmax(-1)
        if self.training:
            self._move(r.to(self.centroids.dtype), cluster)
        return cluster

    def _move(self, r: Tensor, cluster: Tensor) -> None:
        """Centroids without tokens stay."""
        member = F.one_hot(cluster, self.centroids.shape[1]).to(r.dtype)  # [B,H,T,n]
        count = member.sum((0, 2))[..., None]  # [H,n,1]
        mean = torch.einsum("bhtn,bhtc->hnc", member, r) / count.clamp(min=1)
        moved = self.decay * self.centroids + (1 - self.decay) * mean
        self.centroids.copy_(torch.where(count > 0, moved, self.centroids))


class RoutingAttention(Tapped):
    POINTS: ClassVar = {"cluster": "B H T", "pattern": "B H T L", "mixed": "B H T C"}

    def __init__(self, spec: Routing, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.num_heads * spec.head_dim
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.o = nn.Linear(heads, width, bias=False)
        self.clusters = Clusters(spec)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]; with a cache scores are T x L. Raises UsageError for a foreign cache."""
        B, T, _ = x.shape
        C = self.spec.head_dim
        k, v = (m(x).view(B, T, -1, C).transpose(1, 2) for m in (self.k, self.v))  # [B,H,T,C]
        k = F.layer_norm(k, (C,))
        cluster = self.tap("cluster", self.clusters(k))  # [B,H,T]
        if place.cos is not None and place.sin is not None and self.spec.rope is not None:
            k = rotate(k, place.cos, place.sin, self.spec.rope.interleaved)
        q = k * C**-0.5
        if cache is not None:
            if not isinstance(cache, DecodeCache):
                raise UsageError("Clusters are kept beside the keys, which this cache cannot hold.", type(cache).__name__,
                                 "decode this model with model.new_cache()")  # fmt: skip
            kept, v = cache.update(self.layer, torch.cat((k, cluster[..., None].to(k.dtype)), dim=-1), v)
            k, cluster = kept[..., :C], kept[..., C].long()  # [B,H,L,C], [B,H,L]
        if k.shape[2] > T or self.watched("pattern"):
            scores = dot_products(q, k).masked_fill(
                ~clustered_mask(cluster, self.spec.reach)[:, :, -T:], float("-inf")
            )
            mixed = weighted_sum(self.tap("pattern", scores.softmax(-1)), v)
        else:
            mixed = clustered_attention(q, k, v, cluster, self.spec.reach)
        mixed = self.tap("mixed", mixed)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, -1))
        return out


def clustered_mask(cluster: Tensor, reach: int) -> Tensor:
    """The pattern: cluster int64 [B, H, T] -> bool [B, H, T, T], True where row i sees column j."""
    rank = cluster.argsort(dim=-1, stable=True).argsort(
        dim=-1
    )  # within a cluster it counts its tokens in time
    behind = rank[..., :, None] - rank[..., None, :]
    return (cluster[..., :, None] == cluster[..., None, :]) & (behind >= 0) & (behind < reach)


def clustered_attention(q: Tensor, k: Tensor, v: Tensor, cluster: Tensor, reach: int) -> Tensor:
    """softmax(q k^T) v under `clustered_mask`: q, k, v [B, H, T, C], cluster [B, H, T] -> [B, H, T, C].

    In sorted order a block of S queries needs its own keys and those of the block before: 2 S scores per query.
    """
    B, H, T, C = q.shape
    S = min(reach, T)
    N = -(-T // S)
    order = cluster.argsort(dim=-1, stable=True)  # [B,H,T]
    index = order[..., None].expand(B, H, T, C)
    # Zeros behind the end are a cluster of their own, -1; the block before the first is another, -2.
    q, k, v = (F.pad(t.gather(2, index), (0, 0, 0, N * S - T)).view(B, H, N, S, C) for t in (q, k, v))
    own = F.pad(cluster.gather(2, order), (0, N * S - T), value=-1).view(B, H, N, S)
    keys, values = (torch.cat((F.pad(t[:, :, :-1], (0, 0, 0, 0, 1, 0)), t), dim=3) for t in (k, v))
    theirs = torch.cat((F.pad(own[:, :, :-1], (0, 0, 1, 0), value=-2), own), dim=3)  # [B,H,N,2S]
    at = torch.arange(2 * S, device=q.device)
    behind = at[S:, None] - at  # [S,2S]
    mask = (own[..., None] == theirs[..., None, :]) & (behind >= 0) & (behind < reach)
    scores = (q @ keys.transpose(-1, -2)).masked_fill(~mask, float("-inf"))  # [B,H,N,S,2S]
    mixed = (scores.softmax(-1) @ values).view(B, H, N * S, C)[:, :, :T]
    return torch.zeros_like(mixed).scatter(2, index, mixed)
