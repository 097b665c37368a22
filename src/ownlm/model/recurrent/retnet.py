"""Retention: linear attention with rotation and a fixed decay per head (RetNet, Sun et al. 2023, arXiv:2307.08621).

    S_t = gamma S_{t-1} + k_t v_t^T,   o_t = q_t^T S_t                (equations 3 to 7: the three forms of one sum)
    layer = o(silu(gate x) * GroupNorm(heads of o_t)),   gamma_h = 1 - 2^(-5 - h)                    (equation 8)

q and k are rotated by their position (the e^{i n theta} of equation 3). Of the paper's three normalisations
(section 2.1, "retention score normalization") only q k / sqrt(C) is done: the others are positive factors per token
and head, which the group normalisation removes again.

Letters: B batch, T time, D model width, H heads, C head width, C' value width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent.chunked import decayed
from ownlm.model.recurrent.convolution import HeadNorm
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads

ROTATION = Rope()


@dataclass(frozen=True, slots=True)
class Retention:
    """What a layer of multi-scale retention is."""

    num_heads: int
    head_dim: int
    """C, of queries and keys."""
    value_dim: int | None = None
    """C' of a head; None: C. The paper takes 2 C."""
    rope: Rope | None = ROTATION
    chunk: int = 64
    """Tokens that training handles at once; any value gives the same numbers."""
    eps: float = 1e-5
    """Of the group normalisation."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "value_dim", "chunk")

    @property
    def values(self) -> int:
        """Width of all value heads together."""
        return self.num_heads * (self.value_dim or self.head_dim)

    def build(self, width: int, layer: int) -> nn.Module:
        return RetentionLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + 2 * self.values

    def active_parameters(self, width: int) -> int:
        return width * (2 * self.num_heads * self.head_dim + 3 * self.values)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: k v^T into the state and q S out of it."""
        return 4 * self.head_dim * self.values

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S in float32."""
        return 4 * self.head_dim * self.values


class RetentionLayer(Tapped):
    POINTS: ClassVar = {
        "rotated_q": "B H T C",
        "rotated_k": "B H T C",
        "state": "B H C C'",
        "mixed": "B H T C'",
    }

    def __init__(self, spec: Retention, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        keys, values = spec.num_heads * spec.head_dim, spec.values
        self.q = nn.Linear(width, keys, bias=False)
        self.k = nn.Linear(width, keys, bias=False)
        self.v = nn.Linear(width, values, bias=False)
        self.gate = nn.Linear(width, values, bias=False)
        self.head_norm = HeadNorm(spec.num_heads, values // spec.num_heads, spec.eps)
        self.o = nn.Linear(values, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        q, k, v = (accurate(split_heads(f(x), H)) for f in (self.q, self.k, self.v))
        if place.cos is not None and place.sin is not None:
            q, k = rotate(q, place.cos, place.sin), rotate(k, place.cos, place.sin)
        q = self.tap("rotated_q", q)
        k = self.tap("rotated_k", k * self.spec.head_dim**-0.5)
        g = log_decays(H, q)[None, :, None].expand(1, H, x.shape[1])
        mixed, state = decayed(q, k, v, g, kept(cache, self.layer), self.spec.chunk)
        keep(cache, self.layer, self.tap("state", state))
        mixed = join_heads(self.tap("mixed", mixed))
        out: Tensor = self.o(F.silu(self.gate(x)) * self.head_norm(mixed).to(x.dtype))
        return out


def log_decays(num_heads: int, like: Tensor) -> Tensor:
    """log(1 - 2^(-5 - h)) of each head, [H]; log1p keeps the small ones exact."""
    heads = torch.arange(num_heads, device=like.device, dtype=like.dtype)
    return torch.log1p(-torch.exp2(-5.0 - heads))
