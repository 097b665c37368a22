"""DeBERTa's parts (He et al. 2020, arXiv:2006.03654; v3 arXiv:2111.09543): attention between contents and distances,
and a mask decoder that learns absolute positions only at the end.

score(i, j) = (q_i k_j + q_i kr_d(i,j) + k_j qr_d(i,j)) / sqrt(3 C), with d(i, j) a bucket of i - j (equation 4).
The paper writes d(j, i) in the last term; the published code and weights use d(i, j), and so does this file.

Letters: B batch, T time, D model width, H heads, C head width, P distances to either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned
from ownlm.model.attention.cross import CrossAttention, Heads, score_bias
from ownlm.model.layers import Norm
from ownlm.model.stack import EncoderStack


@dataclass(frozen=True, slots=True)
class Disentangled:
    """What the attention is."""

    num_heads: int
    head_dim: int
    max_distance: int
    """Beyond it (v1), or from it on in the last bucket (v2), all distances are one."""
    num_buckets: int | None = None
    """P with logarithmic buckets, half of them exact (v2, v3); None: P = max_distance, one row per distance."""
    terms: tuple[str, ...] = ("c2p", "p2c")
    """Content to position, position to content; without a term its matrices and its part of the scale vanish."""
    share: bool = True
    """Distances are projected with the contents' q and k (v2, v3); else with matrices of their own."""

    def __post_init__(self) -> None:
        if set(self.terms) - {"c2p", "p2c"} or len(set(self.terms)) != len(self.terms):
            raise UsageError(
                "These terms of attention are not known.", str(self.terms), 'use "c2p", "p2c" or both'
            )
        if self.max_distance < 2 or (self.num_buckets is not None and self.num_buckets // 2 < 1):
            raise UsageError("These distances cannot be laid out.", str(self), "use larger numbers")

    @property
    def span(self) -> int:
        """P."""
        return self.max_distance if self.num_buckets is None else self.num_buckets

    def build(self, width: int) -> DisentangledAttention:
        return DisentangledAttention(width, self)

    def num_parameters(self, width: int) -> int:
        inner = self.num_heads * self.head_dim
        own = 0 if self.share else len(self.terms) * (width + 1) * inner
        return Heads(self.num_heads, self.head_dim).num_parameters(width) + own

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.num_heads * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """The contents' two products, and one with the 2P distances per term."""
        inner = self.num_heads * self.head_dim
        return 4 * inner * context + len(self.terms) * 4 * inner * self.span


@dataclass(frozen=True, slots=True)
class Distances:
    """The table of distance embeddings that all layers share."""

    span: int
    """P."""
    norm: Norm | None = None
    """Over the table, before every use (v2, v3)."""

    def build(self, width: int) -> DistanceTable:
        return DistanceTable(self, width)

    def num_parameters(self, width: int) -> int:
        return 2 * self.span * width + (0 if self.norm is None else self.norm.num_parameters(width))


class DistanceTable(nn.Module):
    def __init__(self, spec: Distances, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(2 * spec.span, width)
        self.norm = None if spec.norm is None else spec.norm.build(width)

    def forward(self, positions: Tensor, keys: Tensor) -> Tensor:
        """[2P, D]: what each distance is; the attention looks up which distance is where."""
        table: Tensor = self.table.weight
        return table if self.norm is None else self.norm(table)


class DisentangledAttention(CrossAttention):
    POINTS: ClassVar = CrossAttention.POINTS | {"content_scores": "B H T T", "distance_scores": "B H T T"}

    def __init__(self, width: int, spec: Disentangled) -> None:
        scale = (spec.head_dim * (1 + len(spec.terms))) ** -0.5
        super().__init__(width, Heads(spec.num_heads, spec.head_dim, scale=scale))
        self.distances, inner = spec, spec.num_heads * spec.head_dim
        own = () if spec.share else spec.terms
        self.distance_k = nn.Linear(width, inner) if "c2p" in own else None
        self.distance_q = nn.Linear(width, inner) if "p2c" in own else None

    def forward(
        self,
        x: Tensor,
        source: Tensor | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        relative: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, D] looks at source [B, T, D] of the same text; relative [2P, D] from Distances -> [B, T, D]."""
        if relative is None:
            raise UsageError(
                "Disentangled attention needs distances.", "relative = None", "use Distances in its Stack"
            )
        q, (k, v) = self.split(self.q(x)), self.pair(source)  # [B,H,T,C]
        scores = self.tap("content_scores", q @ k.transpose(-1, -2) * self.scale)  # [B,H,T,T]
        scores = scores + self.tap("distance_scores", self._distance_scores(q, k, relative))
        added = score_bias(mask, None, scores.dtype)
        pattern = self.tap("pattern", (scores if added is None else scores + added).softmax(dim=-1))
        mixed = self.tap("mixed", pattern @ v)  # [B,H,T,C]
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out

    def _distance_scores(self, q: Tensor, k: Tensor, relative: Tensor) -> Tensor:
        """q, k [B, H, T, C], relative [2P, D] -> [B, H, T, T]."""
        T, spec = q.shape[2], self.distances
        row = torch.arange(T, device=q.device)
        bucket = distance_buckets(row[:, None] - row[None, :], spec) + spec.span  # [T,T], of i - j
        index = bucket.clamp(0, 2 * spec.span - 1).expand(q.shape[0], q.shape[1], T, T)
        found = torch.zeros((), dtype=q.dtype, device=q.device).expand(index.shape)
        if "c2p" in spec.terms:
            kr = self.split((self.distance_k or self.k)(relative)[None])  # [1,H,2P,C]
            found = found + (q @ kr.transpose(-1, -2)).gather(-1, index)
        if "p2c" in spec.terms:
            qr = self.split((self.distance_q or self.q)(relative)[None])
            # Row j, column i holds k_j qr_d(i,j); transposed it stands at [i, j].
            found = found + (k @ qr.transpose(-1, -2)).gather(-1, index.transpose(-1, -2)).transpose(-1, -2)
        return found * self.scale


def distance_buckets(distance: Tensor, spec: Disentangled) -> Tensor:
    """Signed distance, int64 -> signed bucket, int64: itself up to half of the buckets, beyond that in steps that
    grow by a constant factor up to max_distance (the published code's `make_log_bucket_position`)."""
    if spec.num_buckets is None:
        return distance
    middle = spec.num_buckets // 2
    size = distance.abs()
    # Short ones are replaced so that the logarithm is defined; float32 as the weights were trained.
    far = torch.where(size < middle, torch.full_like(size, max(middle - 1, 1)), size)
    factor = math.log((spec.max_distance - 1) / middle)
    grown = torch.ceil(torch.log(far.float() / middle) / factor * (middle - 1)).long() + middle
    return torch.where(size <= middle, distance, grown * distance.sign())


@dataclass(frozen=True, slots=True)
class MaskDecoder:
    """The enhanced mask decoder (section 3.2): absolute positions enter just before the masked tokens are guessed."""

    positions: Learned
    num_steps: int = 2
    """How often the last layer is applied."""

    def num_parameters(self, width: int) -> int:
        return self.positions.num_parameters(width)


class MaskDecoderModule(nn.Module):
    """The last layer, again and again: its queries are the hidden states plus absolute positions at first and its
    own last output afterwards; keys and values stay those of the layer before the last."""

    def __init__(self, spec: MaskDecoder, width: int) -> None:
        super().__init__()
        if spec.num_steps < 1:
            raise UsageError("The mask decoder needs a step.", f"num_steps = {spec.num_steps}", "use 1 or 2")
        self.spec, self.positions = spec, spec.positions.build(width)

    def forward(
        self, stack: EncoderStack, x: Tensor, mask: Tensor | None, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embeddings x [B, T, D] -> the stack's output and the mask decoder's, each [B, T, D]."""
        relative, order = stack.distances(positions), stack.order()
        for n in order[:-1]:
            x = stack.blocks[n](x, mask, relative)
        last = stack.blocks[order[-1]]
        hidden = last(x, mask, relative)
        queries = x + self.positions(positions)
        for _ in range(self.spec.num_steps):
            queries = last(x, mask, relative, queries)
        return hidden, queries
