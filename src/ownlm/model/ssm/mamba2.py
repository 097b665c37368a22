"""Mamba-2: state-space duality, SSD (Dao & Gu 2024, arXiv:2405.21060).

One decay per head instead of one per number of the state makes the recurrence a masked attention without softmax:

    recurrence   h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] x[t]^T        y[t] = h[t] C[t]          (equation 2)
    quadratic    y = (L o (C B^T)) (dt x),     L[t, s] = exp(A (dt[s+1] + ... + dt[t])), s <= t  (equation 7)
    chunked      quadratic inside chunks, recurrence between them (section 6): linear in T, all matrix products

Letters: B batch, T time, D model width, H heads, P head width, E = H P inner width, G groups that share B and C,
N state size, K convolution width, Q chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.causal_convolution import CausalConvolution
from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, DecodeCache, Place
from ownlm.model.ssm import start
from ownlm.model.ssm.mamba import at_least_float32, recalled


@dataclass(frozen=True, slots=True)
class Mamba2:
    """What a layer of this kind is; it stands alone, without a feed-forward layer."""

    num_heads: int
    head_width: int
    """P. (Not called head_dim: the heads are not rotated.)"""
    state_size: int = 128
    num_groups: int = 1
    """G: heads H/G share a B and a C, as query heads share keys and values."""
    conv_kernel: int = 4
    bias: bool = False
    """Of up, gate, dt and o."""
    conv_bias: bool = True
    norm_eps: float = 1e-5
    dt_limit: tuple[float, float] = (0.0, float("inf"))
    """Step sizes are kept within."""
    chunk: int = 64
    """Q: tokens per chunk; changes nothing but speed and rounding."""

    def __post_init__(self) -> None:
        sizes = (
            self.num_heads,
            self.head_width,
            self.state_size,
            self.num_groups,
            self.conv_kernel,
            self.chunk,
        )
        if min(sizes) < 1 or self.num_heads % self.num_groups or self.dt_limit[0] > self.dt_limit[1]:
            raise UsageError("The sizes of a Mamba-2 layer contradict each other.", str(self),
                             "give positive sizes, num_heads a multiple of num_groups, dt_limit in order")  # fmt: skip

    @property
    def inner(self) -> int:
        """E."""
        return self.num_heads * self.head_width

    @property
    def mixed(self) -> int:
        """Channels that pass the convolution: x, B and C."""
        return self.inner + 2 * self.num_groups * self.state_size

    def build(self, width: int, layer: int) -> Mamba2Mixer:
        return Mamba2Mixer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        conv = self.mixed * (self.conv_kernel + (1 if self.conv_bias else 0))
        biases = self.inner + self.mixed + self.num_heads + width if self.bias else 0
        return self.active_parameters(width) + conv + biases + 3 * self.num_heads + self.inner

    def active_parameters(self, width: int) -> int:
        return width * (2 * self.inner + self.mixed + self.num_heads)

    def mixing_flops(self, context: int) -> int:
        """Chunked form, per token: C B^T and its product with x over a chunk, building and reading the state."""
        Q = min(context, self.chunk)
        scores = 2 * Q * (self.num_groups * self.state_size + self.inner)
        return scores + 4 * self.inner * self.state_size + 2 * self.mixed * self.conv_kernel

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, dtype_bytes: int = 4) -> int:
        """Of one sequence, at any length: the float32 state and K - 1 inputs of the convolution."""
        return 4 * self.inner * self.state_size + dtype_bytes * self.mixed * (self.conv_kernel - 1)


class Mamba2Mixer(Tapped):
    POINTS: ClassVar = {"step": "B T H", "write": "B T G N", "read": "B T G N", "scanned": "B T H P",
                        "state": "B H P N"}  # fmt: skip

    def __init__(self, spec: Mamba2, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.gate = nn.Linear(width, spec.inner, bias=spec.bias)
        self.up = nn.Linear(width, spec.mixed, bias=spec.bias)
        self.dt = nn.Linear(width, spec.num_heads, bias=spec.bias)
        self.conv = CausalConvolution(spec.mixed, spec.conv_kernel, spec.conv_bias)
        self.dt_bias = nn.Parameter(torch.empty(spec.num_heads))
        self.A_log = nn.Parameter(torch.empty(spec.num_heads))  # A = -exp(A_log)
        self.skip = nn.Parameter(torch.empty(spec.num_heads))
        self.out_norm = nn.Parameter(torch.empty(spec.inner))
        self.o = nn.Linear(spec.inner, width, bias=spec.bias)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """A uniform in [-16, -1], dt log-uniform in [0.001, 0.1], as in the authors' code."""
        start.uniform(generator, self.gate, self.up, self.dt, self.o)
        start.convolution(generator, self.conv.weight, self.conv.bias)
        start.softplus_steps(generator, self.dt_bias)
        self.A_log.copy_(self.A_log.uniform_(1, 16, generator=generator).log())
        self.skip.fill_(1.0)
        self.out_norm.fill_(1.0)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        B, T, _ = x.shape
        spec = self.spec
        conv_state, state = recalled(cache, self.layer, "Mamba2")
        mixed, conv_state = self.conv(self.up(x), conv_state)
        groups = spec.num_groups * spec.state_size
        u, write, read = torch.split(at_least_float32(F.silu(mixed)), [spec.inner, groups, groups], dim=-1)
        u = u.view(B, T, spec.num_heads, spec.head_width)  # [B,T,H,P]
        write = self.tap("write", write.view(B, T, spec.num_groups, spec.state_size))  # [B,T,G,N]
        read = self.tap("read", read.view(B, T, spec.num_groups, spec.state_size))
        step = F.softplus(at_least_float32(self.dt(x)) + at_least_float32(self.dt_bias))
        step = self.tap("step", step.clamp(*spec.dt_limit))  # [B,T,H]
        A = -torch.exp(at_least_float32(self.A_log))  # [H]
        y, state = ssd(u, step, A, write, read, state, spec.chunk)
        state = self.tap("state", state)
        if isinstance(cache, DecodeCache):
            cache.keep(self.layer, (conv_state, state))
        y = self.tap("scanned", y + at_least_float32(self.skip)[:, None] * u)  # [B,T,H,P]
        out: Tensor = self.o(self.gated_norm(y.flatten(2), self.gate(x)).to(x.dtype))
        return out

    def gated_norm(self, y: Tensor, gate: Tensor) -> Tensor:
        """RMSNorm of y * silu(gate), each of the G groups of channels for itself: [B, T, E] -> [B, T, E]."""
        B, T, E = y.shape
        y = (y * F.silu(at_least_float32(gate))).view(B, T, self.spec.num_groups, -1)  # [B,T,G,E/G]
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.spec.norm_eps)
        return y.view(B, T, E) * at_least_float32(self.out_norm)


def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """The chunked form. x [B, T, H, P], dt [B, T, H], A [H], write (B) and read (C) [B, T, G, N],
    state [B, H, P, N] or None for zero -> y [B, T, H, P] and the last state [B, H, P, N]."""
    B, T, H, P = x.shape
    G, N = write.shape[2:]
    if T == 1:
        return ssd_recurrent(x, dt, A, write, read, state)
    Q = min(chunk, T)
    pad = -T % Q  # steps of size 0 after the end: they keep the state and write nothing
    chunks = (T + pad) // Q
    # c chunks, l and s places within one, g groups, r = H/G heads of a group
    u = F.pad(x * dt[..., None], (0, 0, 0, 0, 0, pad)).view(B, chunks, Q, G, H // G, P)
    write = F.pad(write, (0, 0, 0, 0, 0, pad)).view(B, chunks, Q, G, N)
    read = F.pad(read, (0, 0, 0, 0, 0, pad)).view(B, chunks, Q, G, N)
    log_decay = F.pad(dt * A, (0, 0, 0, pad)).view(B, chunks, Q, G, H // G)
    total = log_decay.cumsum(dim=2)  # [B,c,Q,g,r]: from the chunk's start up to and with this step

    within = _decays(total)  # [B,c,l,s,g,r]
    scores = torch.einsum("bclgn,bcsgn->bclsg", read, write)
    y = torch.einsum("bclsg,bclsgr,bcsgrp->bclgrp", scores, within, u)

    to_end = torch.exp(total[:, :, -1:] - total)  # what is left of a step's write at the chunk's end
    written = torch.einsum("bcsgn,bcsgr,bcsgrp->bcgrpn", write, to_end, u)
    kept = torch.exp(total[:, :, -1])[..., None, None]  # [B,c,g,r,1,1]
    carried = x.new_zeros(B, G, H // G, P, N) if state is None else state.view(B, G, H // G, P, N)
    before = []
    for c in range(chunks):
        before.append(carried)
        carried = kept[:, c] * carried + written[:, c]
    entering = torch.stack(before, dim=1)  # [B,c,g,r,P,N]
    y = y + torch.einsum("bclgn,bclgr,bcgrpn->bclgrp", read, torch.exp(total), entering)
    return y.reshape(B, chunks * Q, H, P)[:, :T], carried.reshape(B, H, P, N)


def ssd_recurrent(
    x: Tensor, dt: Tensor, A: Tensor, write: Tensor, read: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition, token by token; shapes as `ssd`."""
    B, T, H, P = x.shape
    share = H // write.shape[2]
    state = x.new_zeros(B, H, P, write.shape[-1]) if state is None else state
    outputs = []
    for t in range(T):
        b = write[:, t].repeat_interleave(share, dim=1)[:, :, None]  # [B,H,1,N]
        c = read[:, t].repeat_interleave(share, dim=1)[..., None]  # [B,H,N,1]
        state = (
            torch.exp(dt[:, t] * A)[..., None, None] * state + (dt[:, t, :, None] * x[:, t])[..., None] * b
        )
        outputs.append((state @ c)[..., 0])  # [B,H,P]
    return torch.stack(outputs, dim=1), state


def ssd_quadratic(x: Tensor, dt: Tensor, A: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """The 1-semiseparable matrix formed whole, from state zero; shapes as `ssd`. O(T^2)."""
    share = x.shape[2] // write.shape[2]
    b, c = write.repeat_interleave(share, dim=2), read.repeat_interleave(share, dim=2)  # [B,T,H,N]
    matrix = torch.einsum("blhn,bshn,blsh->blsh", c, b, _decays((dt * A).cumsum(dim=1)[:, None])[:, 0])
    return torch.einsum("blsh,bsh,bshp->blhp", matrix, dt, x)


def _decays(total: Tensor) -> Tensor:
    """Sums of logarithms up to each step, [B, c, Q, ...] -> exp(total[l] - total[s]), 0 where s > l: [B,c,l,s,...].

    The mask comes before exp: the upper half would overflow, and its gradient would be 0 * inf.
    """
    Q = total.shape[2]
    difference = total[:, :, :, None] - total[:, :, None]  # [B,c,l,s,...]
    later = torch.ones(Q, Q, dtype=torch.bool, device=total.device).triu(1)
    return difference.masked_fill(later.view(1, 1, Q, Q, *([1] * (total.ndim - 3))), float("-inf")).exp()
