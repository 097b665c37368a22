"""RWKV-5 and 6: Eagle and Finch, RWKV with a matrix per head as state.

Peng et al. 2024, "Eagle and Finch", arXiv:2404.05892, equations 3 to 20. Per head, with a_t = exp(-exp(d_t)):

    wkv_t = S_{t-1} + diag(u) k_t v_t^T,    S_t = diag(a_t) S_{t-1} + k_t v_t^T
    layer = o(silu(g) * LayerNorm per head(r_t^T wkv_t))

Eagle: d is a constant per channel, and r, k, v, g are of x_t + (x_{t-1} - x_t) * mix. Finch: d depends on the token, and
so does every mix, each through a small low-rank network (ddlerp, equations 14 to 16).
Note that this mix weighs the token before; RWKV-4's weighs the token itself.

Letters: B batch, T time, D model width, H heads, C head width, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.chunked import channels
from ownlm.model.recurrent.convolution import HeadNorm, shifted
from ownlm.model.recurrent.rwkv import check_depth, ramp
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads


@dataclass(frozen=True, slots=True)
class MatrixTimeMix:
    """What a time mix of Eagle or Finch is."""

    num_heads: int
    head_dim: int
    """C; the paper takes 64."""
    mix_rank: int | None = 32
    """R of the mixes of Finch; None: Eagle, constant mixes and decays."""
    decay_rank: int = 64
    """R of the decay of Finch; without effect in Eagle."""
    depth: float = 0.5
    """Where the layer stands, 0 first to 1 last; for the first values of mixes and decays."""
    chunk: int = 16
    """Tokens computed at once; any value gives the same numbers. Memory grows with it: T * chunk * H * C."""
    eps: float = 64e-5
    """Of the norm over each head."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "mix_rank", "decay_rank", "chunk")
        check_depth(self.depth)

    @property
    def heads(self) -> int:
        return self.num_heads * self.head_dim

    def build(self, width: int, layer: int) -> nn.Module:
        return (EagleLayer if self.mix_rank is None else FinchLayer)(self, width, layer)

    def num_parameters(self, width: int) -> int:
        constant = 4 * self.heads + (4 * width if self.mix_rank is None else 6 * width)  # d, u, norm; mixes
        return self.active_parameters(width) + constant

    def active_parameters(self, width: int) -> int:
        matrices = 5 * width * self.heads
        if self.mix_rank is None:
            return matrices
        return matrices + 10 * width * self.mix_rank + (width + self.heads) * self.decay_rank

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: k v^T, the decay, r S."""
        return 5 * self.heads * self.head_dim

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S in float32 and the last token."""
        return 4 * self.heads * self.head_dim + dtype_bytes * width


class EagleLayer(Tapped):
    """RWKV-5."""

    POINTS: ClassVar = {"log_decay": "B H T C", "state": "B H C C", "mixed": "B H T C"}

    def __init__(self, spec: MatrixTimeMix, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.heads
        self.decay = nn.Parameter(-6 + 5 * ramp(heads) ** (0.7 + 1.3 * spec.depth))  # [H*C], d
        self.first = nn.Parameter(0.5 * (1 - ramp(heads)))  # [H*C], u
        start = 1 - ramp(width) ** (1.0 - spec.depth)
        num_mixes = 4 if spec.mix_rank is None else 5
        self.mixes = nn.Parameter(start.repeat(num_mixes))  # [4 D]: r, k, v, g; Finch [5 D]: also the decay
        self.r = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.gate = nn.Linear(width, heads, bias=False)
        self.head_norm = HeadNorm(spec.num_heads, spec.head_dim, spec.eps)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        state, last = kept(cache, self.layer) or (None, None)
        before, last = shifted(x, last)
        for_r, for_k, for_v, for_gate, *for_decay = self.inputs(x, before)
        r = accurate(split_heads(self.r(for_r), H))  # [B,H,T,C]
        k = accurate(split_heads(self.k(for_k), H))
        v = accurate(split_heads(self.v(for_v), H))
        # exp(-exp(20)) is 0 in every precision; an infinite exp(d) would only bring NaN into the gradient.
        d = self.decays(x, *for_decay).clamp_max(20.0)
        g = self.tap("log_decay", -split_heads(d, H).exp())
        found, state = channels(r, k, v, g, state, self.spec.chunk)
        keep(cache, self.layer, (self.tap("state", state), last))
        u = accurate(self.first).view(H, 1, -1)
        found = self.tap("mixed", found + (r * u * k).sum(-1, keepdim=True) * v)
        out: Tensor = self.o(self.head_norm(join_heads(found)).to(x.dtype) * F.silu(self.gate(for_gate)))
        return out

    def inputs(self, x: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """What r, k, v, g (Finch: and the decay) are made of, each [B, T, D]."""
        return tuple(x + (before - x) * mix for mix in self.mixes.chunk(4))

    def decays(self, x: Tensor) -> Tensor:
        """d [B, T, H*C]."""
        return accurate(self.decay).expand(*x.shape[:2], -1)


class FinchLayer(EagleLayer):
    """RWKV-6."""

    def __init__(self, spec: MatrixTimeMix, width: int, layer: int) -> None:
        super().__init__(spec, width, layer)
        rank = spec.mix_rank or 0  # never 0: Eagle is another class
        self.mix_all = nn.Parameter(1 - ramp(width) ** (1.0 - spec.depth))  # [D]
        self.mix_down = nn.Linear(width, 5 * rank, bias=False)
        self.mix_up = nn.Parameter(torch.zeros(5, rank, width))  # [5,R,D]
        self.decay_down = nn.Linear(width, spec.decay_rank, bias=False)
        self.decay_up = nn.Linear(spec.decay_rank, spec.heads, bias=False)

    def inputs(self, x: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """ddlerp: x + (before - x) * (mix + tanh(down(x + (before - x) * mix_all)) up)."""
        difference = before - x
        low = self.mix_down(x + difference * self.mix_all).tanh().unflatten(-1, (5, -1))  # [B,T,5,R]
        mixes = self.mixes.view(5, -1) + torch.einsum("btnr,nrd->btnd", low, self.mix_up)  # [B,T,5,D]
        return (x[:, :, None] + difference[:, :, None] * mixes).unbind(2)

    def decays(self, x: Tensor, *for_decay: Tensor) -> Tensor:
        return accurate(self.decay) + accurate(self.decay_up(self.decay_down(for_decay[0]).tanh()))
