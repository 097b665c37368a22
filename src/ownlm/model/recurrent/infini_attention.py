"""Infini-attention: softmax attention within a segment, and a compressive memory of all segments before it.

Munkhdalai et al. 2024, "Leave No Context Behind", arXiv:2404.07143, equations 2 to 10. With f = elu + 1, for segment s:

    read    A_mem = f(Q) M_{s-1} / (f(Q) z_{s-1})
    write   M_s = M_{s-1} + f(K)^T (V - f(K) M_{s-1} / (f(K) z_{s-1}))      "linear + delta", or without the second term
            z_s = z_{s-1} + sum of f(K)
    mix     A = sigmoid(gate) A_mem + (1 - sigmoid(gate)) A_dot,            one gate per head

Positions turn the queries and keys of A_dot only, not those of the memory (section 3.1). Segments begin at multiples
of `segment` from the start of the text. An empty memory (the first segment) reads as zero.

A segment's writes depend on M_{s-1} alone, so they are summed up token by token in the next memory while the old
one is still being read: a text may be handed over in any portions.

Letters: B batch, T time, n tokens of a segment so far, N segment length, D model width, H heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.linear_attention import averaged, features
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, pieces, split_heads

ROTATION = Rope()


@dataclass(frozen=True, slots=True)
class InfiniAttention:
    """What a layer of Infini-attention is."""

    num_heads: int
    head_dim: int
    """C."""
    segment: int
    """N: tokens that attend to each other; everything older is in the memory."""
    rope: Rope | None = ROTATION
    delta: bool = True
    """Write only what the memory does not answer already."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "segment")

    def build(self, width: int, layer: int) -> nn.Module:
        return InfiniAttentionLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + self.num_heads

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.num_heads * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """Per token: attention over the segment (the full square), one read, two products per write."""
        return self.num_heads * self.head_dim * (4 * min(context, self.segment) + 6 * self.head_dim)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: two memories in float32 and room for the keys and values of a segment."""
        memories = 2 * 4 * self.head_dim * (self.head_dim + 1)
        return self.num_heads * (memories + 2 * dtype_bytes * self.segment * self.head_dim)


class _State(NamedTuple):
    old: Tensor  # M and z side by side, of the finished segments: [B, H, C, C+1]
    new: Tensor  # the same and what this segment wrote so far
    k: Tensor  # rotated keys of this segment, [B, H, N, C], zeros behind the first n
    v: Tensor  # [B, H, N, C]
    n: int


class InfiniAttentionLayer(Tapped):
    POINTS: ClassVar = {"local": "B H T C", "recalled": "B H T C", "memory": "B H C C+1", "mixed": "B H T C"}

    def __init__(self, spec: InfiniAttention, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.num_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.memory_gate = nn.Parameter(torch.zeros(spec.num_heads))  # [H], before the sigmoid
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        q, k, v = (split_heads(f(x), self.spec.num_heads) for f in (self.q, self.k, self.v))  # [B,H,T,C]
        q_features, k_features = features(accurate(q)), features(accurate(k))
        if place.cos is not None and place.sin is not None:
            q, k = rotate(q, place.cos, place.sin), rotate(k, place.cos, place.sin)
        state = kept(cache, self.layer)
        state = self._start(k, k_features) if state is None else _State(*state)
        local, recalled = [], []
        for a, b, full in pieces(x.shape[1], state.n, self.spec.segment):
            recalled.append(read(state.old, q_features[:, :, a:b]))
            part, state = self._attend(q[:, :, a:b], k[:, :, a:b], v[:, :, a:b], state)
            local.append(part)
            wide = accurate(v[:, :, a:b])
            new = state.new + writes(state.old, k_features[:, :, a:b], wide, self.spec.delta)
            state = state._replace(new=new)
            if full:
                empty = torch.zeros_like(state.k)
                state = _State(new, new, empty, empty, 0)
        self.tap("memory", state.old)
        keep(cache, self.layer, tuple(state))
        near = self.tap("local", accurate(torch.cat(local, dim=2)))
        far = self.tap("recalled", torch.cat(recalled, dim=2))
        share = accurate(self.memory_gate).sigmoid()[:, None, None]
        mixed = self.tap("mixed", share * far + (1 - share) * near)  # [B,H,T,C]
        out: Tensor = self.o(join_heads(mixed.to(x.dtype)))
        return out

    def _start(self, k: Tensor, k_features: Tensor) -> _State:
        B, H, _, C = k.shape
        memory = k_features.new_zeros(B, H, C, C + 1)
        room = k.new_zeros(B, H, self.spec.segment, C)
        return _State(memory, memory, room, room, 0)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, state: _State) -> tuple[Tensor, _State]:
        """Causal attention of some tokens of a segment to the segment so far, and the state that holds them too."""
        k = torch.cat((state.k[:, :, : state.n], k), dim=2)
        v = torch.cat((state.v[:, :, : state.n], v), dim=2)
        T, n = q.shape[2], k.shape[2]
        past = torch.ones(T, n, dtype=torch.bool, device=q.device).tril(n - T)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=past)  # [B,H,T,C]
        free = (0, 0, 0, self.spec.segment - n)
        return out, state._replace(k=F.pad(k, free), v=F.pad(v, free), n=n)


def read(memory: Tensor, features: Tensor) -> Tensor:
    """memory [B, H, C, C+1], features [B, H, T, C] -> [B, H, T, C]; zero where nothing was written."""
    return averaged(features @ memory)


def writes(memory: Tensor, features: Tensor, v: Tensor, delta: bool) -> Tensor:
    """What these tokens add to M and z, [B, H, C, C+1]."""
    fresh = v - read(memory, features) if delta else v
    return features.transpose(-1, -2) @ F.pad(fresh, (0, 1), value=1.0)
