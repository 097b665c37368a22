"""Gated DeltaNet: the delta rule with a decay that depends on the token, as in Qwen3-Next.

Yang et al. 2024, "Gated Delta Networks", arXiv:2412.06464, equation 10:

    S_t = a_t S_{t-1} + b_t k_t (v_t - a_t S_{t-1}^T k_t)^T,   o_t = q_t^T S_t / sqrt(C)
    a_t = exp(-exp(A) softplus(alpha x_t + dt)),   b_t = sigmoid(beta x_t)
    layer = o(RMSNorm(heads of o_t) * silu(gate x_t))

q, k and v pass a short convolution with SiLU, q and k are normalised to length one (section 3.4). Several value
heads may share a query/key head, as in transformers' Qwen3-Next, which this layer equals.

Letters: B batch, T time, D model width, H value heads, K key heads, C key width, C' value width, W taps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.layers import RMSNorm
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.chunked import delta
from ownlm.model.recurrent.convolution import ShortConvolution
from ownlm.model.recurrent.delta_net import unit
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads


@dataclass(frozen=True, slots=True)
class GatedDeltaNet:
    """What a layer of the gated delta rule is."""

    num_heads: int
    """H: value heads, each with its own state, decay and strength."""
    head_dim: int
    """C, of queries and keys."""
    num_key_heads: int | None = None
    """K: H/K value heads share one; None: H."""
    value_dim: int | None = None
    """C'; None: C. The paper takes 2 C."""
    taps: int = 4
    """W: tokens that the short convolution sees."""
    chunk: int = 64
    """Tokens that training handles at once; any value gives the same numbers."""
    eps: float = 1e-6
    """Of the output's norm."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "num_key_heads", "value_dim", "taps", "chunk")
        if self.num_heads % self.key_heads:
            raise UsageError(
                "num_heads must be a multiple of num_key_heads.", str(self), "change one of them"
            )

    @property
    def key_heads(self) -> int:
        return self.num_heads if self.num_key_heads is None else self.num_key_heads

    @property
    def keys(self) -> int:
        """Width of all key heads together."""
        return self.key_heads * self.head_dim

    @property
    def values(self) -> int:
        """Width of all value heads together."""
        return self.num_heads * (self.value_dim or self.head_dim)

    def build(self, width: int, layer: int) -> nn.Module:
        return GatedDeltaNetLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        convolutions = (2 * self.keys + self.values) * self.taps
        decays = 2 * self.num_heads
        return self.active_parameters(width) + convolutions + decays + self.values // self.num_heads

    def active_parameters(self, width: int) -> int:
        return width * (2 * self.keys + 3 * self.values + 2 * self.num_heads)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: S k, the correction, q S, the decay, and the convolutions."""
        return 7 * self.head_dim * self.values + 2 * (2 * self.keys + self.values) * self.taps

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S in float32 and the convolutions' last W - 1 tokens."""
        tails = (2 * self.keys + self.values) * (self.taps - 1)
        return 4 * self.head_dim * self.values + dtype_bytes * tails


class GatedDeltaNetLayer(Tapped):
    POINTS: ClassVar = {"unit_q": "B H T C", "unit_k": "B H T C", "strength": "B H T", "log_decay": "B H T", "state": "B H C C'", "mixed": "B H T C'"}  # fmt: skip

    def __init__(self, spec: GatedDeltaNet, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        H, keys, values = spec.num_heads, spec.keys, spec.values
        self.q = nn.Linear(width, keys, bias=False)
        self.k = nn.Linear(width, keys, bias=False)
        self.v = nn.Linear(width, values, bias=False)
        self.gate = nn.Linear(width, values, bias=False)
        self.q_convolution = ShortConvolution(keys, spec.taps)
        self.k_convolution = ShortConvolution(keys, spec.taps)
        self.v_convolution = ShortConvolution(values, spec.taps)
        self.alpha = nn.Linear(width, H, bias=False)
        self.beta = nn.Linear(width, H, bias=False)
        # Time steps from 0.001 to 0.1, rates from 1 to 16 (Mamba-2's ranges): memories of 1 to 1,000 tokens.
        steps = torch.logspace(-3, -1, H)
        self.log_rate = nn.Parameter(torch.linspace(1.0, 16.0, H).log())  # [H], A in the formula
        self.step_bias = nn.Parameter(
            steps + torch.log(-torch.expm1(-steps))
        )  # [H], dt: softplus of it is the step
        self.head_norm = RMSNorm(values // H, spec.eps)
        self.o = nn.Linear(values, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H, K = self.spec.num_heads, self.spec.key_heads
        state, *tails = kept(cache, self.layer) or (None, None, None, None)
        q, q_tail = self.q_convolution(self.q(x), tails[0])  # [B,T,K*C]
        k, k_tail = self.k_convolution(self.k(x), tails[1])
        v, v_tail = self.v_convolution(self.v(x), tails[2])  # [B,T,H*C']
        q = unit(accurate(split_heads(q, K))).repeat_interleave(H // K, dim=1)  # [B,H,T,C]
        k = unit(accurate(split_heads(k, K))).repeat_interleave(H // K, dim=1)
        q, k = self.tap("unit_q", q), self.tap("unit_k", k)
        b = self.tap("strength", accurate(self.beta(x)).sigmoid().transpose(1, 2))  # [B,H,T]
        g = self.tap("log_decay", self.log_decay(x))
        v = accurate(split_heads(v, H))
        mixed, state = delta(q * self.spec.head_dim**-0.5, k, v, b, g, state, self.spec.chunk)
        state = self.tap("state", state)
        keep(cache, self.layer, (state, q_tail, k_tail, v_tail))
        mixed = self.head_norm(self.tap("mixed", mixed).to(x.dtype))
        out: Tensor = self.o(join_heads(mixed) * F.silu(self.gate(x)))
        return out

    def log_decay(self, x: Tensor) -> Tensor:
        """g_t = -exp(A) softplus(alpha x_t + dt), [B, H, T]."""
        step = F.softplus(accurate(self.alpha(x)) + accurate(self.step_bias))
        return (-accurate(self.log_rate).exp() * step).transpose(1, 2)
