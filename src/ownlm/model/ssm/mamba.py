"""Mamba: a state space whose step, input and output depend on the token (Gu & Dao 2023, arXiv:2312.00752).

      x ─┬─ up ── conv ── silu ──┬────────────────── scan ── + skip ── * ── o
         │                       └─ select ─ dt, B, C ┘                │
         └─ gate ── silu ──────────────────────────────────────────────┘

    h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] x[t]        y[t] = C[t] h[t]         (equations 2a, 2b; algorithm 2)

A is discretized exactly (zero-order hold), B by Euler's rule, as the authors' code does (their equation 4 gives
the exact form for both). Everything of the recurrence is computed in float32 at least.

Letters: B batch, T time, D model width, E inner width, N state size, R rank of dt, K convolution width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.causal_convolution import CausalConvolution
from ownlm.model.hooks import Tapped
from ownlm.model.layers import Norm
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.ssm import scan, start

CHUNK = 64
"""Tokens that are scanned at once: the states [B, CHUNK, E, N] are the largest thing that the forward holds."""


@dataclass(frozen=True, slots=True)
class Mamba:
    """What a layer of this kind is; it stands alone, without a feed-forward layer."""

    inner_width: int
    """E: channels; the paper's models have 2 D."""
    state_size: int = 16
    """N: numbers per channel that are carried along."""
    dt_rank: int | None = None
    """R; None: D / 16, rounded up."""
    conv_kernel: int = 4
    bias: bool = False
    """Of up, gate and o."""
    conv_bias: bool = True
    selection_norm: Norm | None = None
    """Of dt, B and C before they are used (Jamba, arXiv:2403.19887)."""

    def __post_init__(self) -> None:
        rank = 1 if self.dt_rank is None else self.dt_rank
        if min(self.inner_width, self.state_size, self.conv_kernel, rank) < 1:
            raise UsageError("The sizes of a Mamba layer must be positive.", str(self), "correct them")

    def rank(self, width: int) -> int:
        """R."""
        return math.ceil(width / 16) if self.dt_rank is None else self.dt_rank

    def build(self, width: int, layer: int) -> MambaMixer:
        return MambaMixer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        E, R, N = self.inner_width, self.rank(width), self.state_size
        conv = E * self.conv_kernel + (E if self.conv_bias else 0)
        biases = 2 * E + width if self.bias else 0
        norms = 0
        if self.selection_norm is not None:
            norms = self.selection_norm.num_parameters(R) + 2 * self.selection_norm.num_parameters(N)
        return self.active_parameters(width) + conv + biases + norms + E + E * N + E  # dt's bias, A, skip

    def active_parameters(self, width: int) -> int:
        E, R = self.inner_width, self.rank(width)
        return 3 * width * E + E * (R + 2 * self.state_size) + R * E

    def mixing_flops(self, context: int) -> int:
        """dt A (1), dt B x (2), a h + b (2) and C h (2) for E N numbers; the convolution's 2 E K. At any context."""
        return self.inner_width * (7 * self.state_size + 2 * self.conv_kernel)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, dtype_bytes: int = 4) -> int:
        """Of one sequence, at any length: the float32 state and K - 1 inputs of the convolution."""
        return self.inner_width * (4 * self.state_size + dtype_bytes * (self.conv_kernel - 1))


class MambaMixer(Tapped):
    POINTS: ClassVar = {
        "step": "B T E",
        "write": "B T N",
        "read": "B T N",
        "scanned": "B T E",
        "state": "B E N",
    }

    def __init__(self, spec: Mamba, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        E, R, N = spec.inner_width, spec.rank(width), spec.state_size
        self.sizes = [R, N, N]
        self.up = nn.Linear(width, E, bias=spec.bias)
        self.gate = nn.Linear(width, E, bias=spec.bias)
        self.conv = CausalConvolution(E, spec.conv_kernel, spec.conv_bias)
        self.select = nn.Linear(E, R + 2 * N, bias=False)
        self.dt = nn.Linear(R, E)
        self.A_log = nn.Parameter(torch.empty(E, N))  # A = -exp(A_log): always decays
        self.skip = nn.Parameter(torch.empty(E))
        self.o = nn.Linear(E, width, bias=spec.bias)
        norm = spec.selection_norm
        self.dt_norm, self.write_norm, self.read_norm = (
            None if norm is None else norm.build(size) for size in self.sizes
        )

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Section 3.6: A = -(1, 2, ..., N) per channel (S4D-Real), dt log-uniform in [0.001, 0.1]. Norms stay."""
        start.uniform(generator, self.up, self.gate, self.select, self.dt, self.o)
        start.convolution(generator, self.conv.weight, self.conv.bias)
        start.softplus_steps(generator, self.dt.bias)
        self.A_log.copy_(torch.arange(1, self.A_log.shape[1] + 1).log().expand_as(self.A_log))
        self.skip.fill_(1.0)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        conv_state, state = recalled(cache, self.layer, type(self.spec).__name__)
        u, conv_state = self.conv(self.up(x), conv_state)
        u = F.silu(u)  # [B,T,E]
        dt, write, read = self.select(u).split(self.sizes, dim=-1)  # [B,T,R], [B,T,N], [B,T,N]
        if self.dt_norm is not None and self.write_norm is not None and self.read_norm is not None:
            dt, write, read = self.dt_norm(dt), self.write_norm(write), self.read_norm(read)
        step = self.tap("step", F.softplus(at_least_float32(self.dt(dt))))  # [B,T,E]
        write, read = self.tap("write", at_least_float32(write)), self.tap("read", at_least_float32(read))
        A = -torch.exp(at_least_float32(self.A_log))  # [E,N]
        y, state = selective_scan(at_least_float32(u), step, A, write, read, state)
        state = self.tap("state", state)
        if isinstance(cache, DecodeCache):
            cache.keep(self.layer, (conv_state, state))
        y = self.tap("scanned", y + at_least_float32(self.skip) * u)  # [B,T,E]
        out: Tensor = self.o(y.to(x.dtype) * F.silu(self.gate(x)))  # [B,T,D]
        return out


def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """x and dt [B, T, E], A [E, N], write (B) and read (C) [B, T, N], state [B, E, N] or None for zero
    -> y [B, T, E] and the last state [B, E, N]. Chunk by chunk, each by a parallel scan."""
    outputs = []
    for first in range(0, x.shape[1], chunk):
        part = slice(first, first + chunk)
        decay = torch.exp(dt[:, part, :, None] * A)  # [B,t,E,N]
        added = (dt[:, part] * x[:, part])[..., None] * write[:, part, None, :]  # [B,t,E,N]
        states = scan.parallel(decay, added, state)  # [B,t,E,N]
        outputs.append((states @ read[:, part, :, None])[..., 0])  # [B,t,E]
        state = states[:, -1]
    assert state is not None, "a scan has at least one step"
    return torch.cat(outputs, dim=1), state.clone()  # a copy, or the states of the chunk stay in memory


def selective_scan_sequential(
    x: Tensor, dt: Tensor, A: Tensor, write: Tensor, read: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition, token by token: as `selective_scan`, which is held against it."""
    state = torch.zeros(x.shape[0], *A.shape, dtype=x.dtype, device=x.device) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * A)  # [B,E,N]
        state = decay * state + dt[:, t, :, None] * write[:, t, None, :] * x[:, t, :, None]
        outputs.append((state * read[:, t, None, :]).sum(-1))  # [B,E]
    return torch.stack(outputs, dim=1), state


def at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def recalled(cache: Cache | None, layer: int, name: str) -> tuple[Tensor | None, Tensor | None]:
    """The two tensors that a recurrent layer kept, Nones at the start. Raises UsageError for a cache of pairs only."""
    if cache is None:
        return None, None
    if not isinstance(cache, DecodeCache):
        raise UsageError("This cache holds keys and values only, a recurrent layer keeps a state.",
                         f"{type(cache).__name__} for a layer of {name}", "decode with model.new_cache()")  # fmt: skip
    first, second = cache.state(layer) or (None, None)
    return first, second
