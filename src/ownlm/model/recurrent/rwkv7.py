"""RWKV-7, Goose: RWKV with a generalised delta rule.

Peng et al. 2025, "RWKV-7 Goose", arXiv:2503.14456, section 4. Per head, state S [C, C'] (the paper's transposed):

    S_t = (diag(w_t) - (a_t * n_t) n_t^T) S_{t-1} + k_t v_t^T,     y_t = r_t^T S_t
    w = exp(-exp(-1/2) sigmoid(d)),  a = sigmoid(...),  n = k' * removal / |k' * removal|,  k = k' * (1 + (a - 1) * blend)
    layer = o(g * (LayerNorm per head(y_t) + (r_t . (bonus * k_t)) v_t))

d, a and g depend on the token through low-rank networks; every input is x_t + (x_{t-1} - x_t) * mix with a constant
mix. Deviation: the paper's value residual (v blended with the first layer's v, equation 10) is left out, since a
mixer sees no other layer.

Letters: B batch, T time, D model width, H heads, C head width, R rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.chunked import channels_delta
from ownlm.model.recurrent.convolution import HeadNorm, shifted
from ownlm.model.recurrent.rwkv import check_depth, ramp
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads


@dataclass(frozen=True, slots=True)
class GooseTimeMix:
    """What a time mix of RWKV-7 is."""

    num_heads: int
    head_dim: int
    """C; the paper takes 64."""
    rank: int = 64
    """R of the networks for decay and removal."""
    gate_rank: int = 128
    """R of the network for the gate."""
    depth: float = 0.5
    """Where the layer stands, 0 first to 1 last; for the first values of mixes and decays."""
    chunk: int = 16
    """Tokens computed at once; any value gives the same numbers. Memory grows with it: T * chunk * H * C."""
    eps: float = 64e-5
    """Of the norm over each head."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "rank", "gate_rank", "chunk")
        check_depth(self.depth)

    @property
    def heads(self) -> int:
        return self.num_heads * self.head_dim

    def build(self, width: int, layer: int) -> nn.Module:
        return GooseLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.active_parameters(width) + 6 * width + 7 * self.heads

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.heads + (width + self.heads) * (2 * self.rank + self.gate_rank)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: the decay, n^T S, two outer products, r S."""
        return 9 * self.heads * self.head_dim

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S in float32 and the last token."""
        return 4 * self.heads * self.head_dim + dtype_bytes * width


class GooseLayer(Tapped):
    POINTS: ClassVar = {"log_decay": "B H T C", "removal": "B H T C", "state": "B H C C", "mixed": "B H T C"}

    def __init__(self, spec: GooseTimeMix, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.heads
        self.mixes = nn.Parameter(
            (1 - ramp(width) ** (1.0 - spec.depth)).repeat(6)
        )  # [6 D]: r, d, k, v, a, g
        self.r = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.o = nn.Linear(heads, width, bias=False)
        self.decay_down, self.decay_up = _low_rank(width, spec.rank, heads)
        self.decay = nn.Parameter(-6 + 6 * ramp(heads) ** (0.85 + spec.depth**0.5))  # [H*C]
        self.removal_down, self.removal_up = _low_rank(width, spec.rank, heads)
        self.removal = nn.Parameter(0 * ramp(heads))  # [H*C]
        self.gate_down, self.gate_up = _low_rank(width, spec.gate_rank, heads)
        self.removal_key = nn.Parameter(0 * ramp(heads) + 0.85)  # [H*C], the paper's xi
        self.blend = nn.Parameter(0 * ramp(heads) + 1.0)  # alpha
        self.bonus = nn.Parameter(0 * ramp(heads))  # rho
        self.head_norm = HeadNorm(spec.num_heads, spec.head_dim, spec.eps)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        state, last = kept(cache, self.layer) or (None, None)
        before, last = shifted(x, last)
        for_r, for_d, for_k, for_v, for_a, for_g = (x + (before - x) * mix for mix in self.mixes.chunk(6))
        r, v = accurate(split_heads(self.r(for_r), H)), accurate(split_heads(self.v(for_v), H))  # [B,H,T,C]
        raw_k = accurate(self.k(for_k))  # [B,T,H*C]
        d = accurate(self.decay) + accurate(self.decay_up(self.decay_down(for_d).tanh()))
        g = self.tap("log_decay", split_heads(-math.exp(-0.5) * d.sigmoid(), H))
        a = (accurate(self.removal) + accurate(self.removal_up(self.removal_down(for_a)))).sigmoid()
        k = split_heads(raw_k * (1 + (a - 1) * accurate(self.blend)), H)
        n = F.normalize(split_heads(raw_k * accurate(self.removal_key), H), dim=-1)
        a = self.tap("removal", split_heads(a, H))
        found, state = channels_delta(r, k, v, -n, n * a, g, state, self.spec.chunk)
        keep(cache, self.layer, (self.tap("state", state), last))
        found = self.head_norm(join_heads(self.tap("mixed", found)))
        bonus = (r * accurate(self.bonus).view(H, 1, -1) * k).sum(-1, keepdim=True) * v
        gate = self.gate_up(self.gate_down(for_g).sigmoid())
        out: Tensor = self.o(gate * (found + join_heads(bonus)).to(x.dtype))
        return out


def _low_rank(width: int, rank: int, heads: int) -> tuple[nn.Linear, nn.Linear]:
    return nn.Linear(width, rank, bias=False), nn.Linear(rank, heads, bias=False)
