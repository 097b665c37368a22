"""Multi-head latent attention, MLA (DeepSeek-V2, arXiv:2405.04434, section 2.1, eq. 9-19).

Keys and values of all heads are made from one small vector per token, the latent; the position comes from one more
rotated key that all heads share. Only these two are cached:

    x ── kv_down ── norm ── latent [r] ──┬── k_up ── k [H,N]
    x ── k_rope ── rotation ── [R] ──────┤           the key of a head: its k beside the shared rotated one
                                         └── v_up ── v [H,U]

k_up need not be carried out for every cached token: q (k_up c) = (k_up^T q) c. So with few new tokens the queries go
into the space of latents, and so does the output until v_up (`absorbed`); with many the keys and values are formed
(`expanded`). Both give the same numbers; the cheaper one runs.

Letters: B batch, T time (new tokens), L keys to attend to, D model width, H heads, N head width without position,
R rotated width, U value width, r latent width.
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
from ownlm.model.layers import Norm
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate


@dataclass(frozen=True, slots=True)
class Latent:
    """What a layer of this attention is."""

    num_heads: int
    latent: int
    """r: numbers that a token keeps for the keys and values of all heads."""
    nope_dim: int
    """N."""
    rope_dim: int
    """R."""
    value_dim: int
    """U."""
    q_rank: int | None = None
    """Queries too go through a normed vector of this width, which saves weights; None: straight from x."""
    rope: Rope | None = Rope()
    """None: the shared key is not rotated."""
    norm: Norm = Norm("rms", 1e-6)
    """Of the latent and of the queries' narrow vector."""
    bias: bool = False
    """Of the projections that read x and of o."""
    scale: float | None = None
    """Of the dot products; None: (N + R) ** -0.5."""
    interleaved: bool = False
    """The rotated features are pairs (2i, 2i + 1), as DeepSeek stores them, not halves (i, i + R/2)."""

    def __post_init__(self) -> None:
        sizes = (self.num_heads, self.latent, self.nope_dim, self.rope_dim, self.value_dim, self.q_rank or 1)
        if min(sizes) < 1 or self.rope_dim % 2:
            raise UsageError(
                "Widths must be positive and the rotated one even.", str(self), "correct these fields"
            )
        if self.rope is not None and self.rope.interleaved:
            raise UsageError("Latent attention has its own word for the order of pairs.", str(self.rope),
                             "give Latent(..., interleaved=True) instead of Rope(interleaved=True)")  # fmt: skip

    @property
    def head_dim(self) -> int:
        """What of a head is rotated: the decoder makes its cosines."""
        return self.rope_dim

    def build(self, width: int, layer: int) -> LatentAttention:
        return LatentAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        biases = self.latent + self.rope_dim + width + (self.q_rank or 0) if self.bias else 0
        norms = self.norm.num_parameters(self.latent)
        norms += 0 if self.q_rank is None else self.norm.num_parameters(self.q_rank)
        return self.active_parameters(width) + norms + biases

    def active_parameters(self, width: int) -> int:
        """Weights of matrix products per token; the absorbed form has the same."""
        queries = self.num_heads * (self.nope_dim + self.rope_dim)
        found = width * queries if self.q_rank is None else self.q_rank * (width + queries)
        found += width * (self.latent + self.rope_dim)
        found += self.latent * self.num_heads * (self.nope_dim + self.value_dim)
        return found + self.num_heads * self.value_dim * width

    def mixing_flops(self, context: int) -> int:
        """Of the expanded form, the one that trains: q k^T and p v, the full square."""
        return 2 * self.num_heads * (self.nope_dim + self.rope_dim + self.value_dim) * context

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """The latent and the shared rotated key."""
        return (self.latent + self.rope_dim) * dtype_bytes


class LatentAttention(Tapped):
    POINTS: ClassVar = {"latent": "B 1 T r", "rotated_k": "B 1 T R", "pattern": "B H T L", "mixed": "B H T U"}

    def __init__(self, spec: Latent, width: int, layer: int) -> None:
        super().__init__()
        self.layer, self.spec = layer, spec
        self.scale = (spec.nope_dim + spec.rope_dim) ** -0.5 if spec.scale is None else spec.scale
        queries = spec.num_heads * (spec.nope_dim + spec.rope_dim)
        self.q_down = None if spec.q_rank is None else nn.Linear(width, spec.q_rank, bias=spec.bias)
        self.q_norm = None if spec.q_rank is None else spec.norm.build(spec.q_rank)
        self.q = nn.Linear(spec.q_rank or width, queries, bias=False)
        self.kv_down = nn.Linear(width, spec.latent, bias=spec.bias)
        self.kv_norm = spec.norm.build(spec.latent)
        self.k_rope = nn.Linear(width, spec.rope_dim, bias=spec.bias)
        self.k_up = nn.Linear(spec.latent, spec.num_heads * spec.nope_dim, bias=False)
        self.v_up = nn.Linear(spec.latent, spec.num_heads * spec.value_dim, bias=False)
        self.o = nn.Linear(spec.num_heads * spec.value_dim, width, bias=spec.bias)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        q_nope, q_rot = self.queries(self.narrow(x), place)
        latent, k_rot = self.kept(x, place)
        if cache is not None:
            latent, k_rot = cache.update(self.layer, latent, k_rot)  # [B,1,L,r], [B,1,L,R]
        if self.absorbing_is_cheaper(x.shape[1], latent.shape[2]):
            mixed = self.absorbed(q_nope, q_rot, latent, k_rot, place)
        else:
            mixed = self.expanded(q_nope, q_rot, latent, k_rot, place)
        return self.written(mixed)

    def narrow(self, x: Tensor) -> Tensor:
        """What queries are made from: x itself or its normed low-rank image."""
        if self.q_down is None or self.q_norm is None:
            return x
        narrow: Tensor = self.q_norm(self.q_down(x))
        return narrow

    def queries(self, narrow: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """-> [B, H, T, N] and, rotated, [B, H, T, R]."""
        B, T, _ = narrow.shape
        q = self.q(narrow).view(B, T, self.spec.num_heads, -1).transpose(1, 2)
        q_nope, q_rot = q.split((self.spec.nope_dim, self.spec.rope_dim), dim=-1)
        return q_nope, turned(self.in_halves(q_rot), place)

    def kept(self, x: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """What the cache holds of new tokens: latent [B, 1, T, r], shared rotated key [B, 1, T, R]."""
        latent = self.tap("latent", self.kv_norm(self.kv_down(x))[:, None])
        return latent, self.tap("rotated_k", turned(self.in_halves(self.k_rope(x))[:, None], place))

    def in_halves(self, rotated: Tensor) -> Tensor:
        """[..., R] in the order that the rotation takes; queries and keys alike, so dot products do not change."""
        return (
            rotated.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2) if self.spec.interleaved else rotated
        )

    def absorbing_is_cheaper(self, num_new: int, num_keys: int) -> bool:
        """By operations per head; both forms give the same numbers."""
        s = self.spec
        absorbed = num_new * (s.latent * (s.nope_dim + s.value_dim) + num_keys * (2 * s.latent + s.rope_dim))
        forming = num_keys * s.latent * (s.nope_dim + s.value_dim)
        return absorbed < forming + num_new * num_keys * (s.nope_dim + s.rope_dim + s.value_dim)

    def expanded(self, q_nope: Tensor, q_rot: Tensor, latent: Tensor, k_rot: Tensor, place: Place) -> Tensor:
        """Keys and values of every head are formed: mixed values [B, H, T, U]."""
        B, _, L, _ = latent.shape
        k_nope = self.k_up(latent[:, 0]).view(B, L, self.spec.num_heads, -1).transpose(1, 2)  # [B,H,L,N]
        v = self.v_up(latent[:, 0]).view(B, L, self.spec.num_heads, -1).transpose(1, 2)  # [B,H,L,U]
        q = torch.cat((q_nope, q_rot), dim=-1)
        k = torch.cat((k_nope, k_rot.expand(-1, self.spec.num_heads, -1, -1)), dim=-1)
        if self.watched("pattern"):
            return weighted_sum(self.pattern(dot_products(q, k), place), v)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen(place, q.shape[2]), scale=self.scale)

    def absorbed(self, q_nope: Tensor, q_rot: Tensor, latent: Tensor, k_rot: Tensor, place: Place) -> Tensor:
        """One key and one value per token for all heads, the latent: mixed values [B, H, T, U]."""
        scores = dot_products(self.into_latent(q_nope), latent) + dot_products(q_rot, k_rot)  # [B,H,T,L]
        return self.out_of_latent(weighted_sum(self.pattern(scores, place), latent))

    def into_latent(self, q_nope: Tensor) -> Tensor:
        """[B, H, T, N] -> [B, H, T, r]."""
        return q_nope @ self.k_up.weight.view(self.spec.num_heads, self.spec.nope_dim, -1)

    def out_of_latent(self, mixed: Tensor) -> Tensor:
        """[B, H, T, r] -> [B, H, T, U]."""
        return mixed @ self.v_up.weight.view(self.spec.num_heads, self.spec.value_dim, -1).transpose(1, 2)

    def pattern(self, scores: Tensor, place: Place) -> Tensor:
        """Softmax of unscaled scores [B, H, T, L] over what may be seen."""
        mask, scores = seen(place, scores.shape[2]), scores * self.scale
        if mask is not None:
            scores = torch.where(mask, scores, float("-inf"))
        return self.tap("pattern", scores.softmax(dim=-1))

    def written(self, mixed: Tensor) -> Tensor:
        """[B, H, T, U] -> [B, T, D]."""
        mixed = self.tap("mixed", mixed)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


def turned(x: Tensor, place: Place) -> Tensor:
    """[B, n, T, c] with its first R features rotated, where there is a rotation."""
    return x if place.cos is None or place.sin is None else rotate(x, place.cos, place.sin)


def seen(place: Place, num_new: int) -> Tensor | None:
    """The mask, also where `place` leaves it out because a kernel knows the causal one; None: all is visible."""
    if place.mask is not None or num_new == 1:
        return place.mask
    return place.positions[:, None, :, None] >= place.keys[:, None, None, :]
