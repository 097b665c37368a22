"""DeltaNet: linear attention that corrects what its memory answers instead of adding to it.

Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule", arXiv:2406.06484, equations 4 to 6:

    S_t = S_{t-1} + b_t k_t (v_t - S_{t-1}^T k_t)^T,   o_t = q_t^T S_t,   b_t = sigmoid(beta x_t)

one step of gradient descent with rate b_t on |S^T k_t - v_t|^2 / 2. As in the paper (section 3.4) q, k and v pass
a short convolution with SiLU, q and k are normalised to length one, and each head's output is RMS-normalised.

Letters: B batch, T time, D model width, H heads, C head width, W taps of the convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.layers import RMSNorm
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.chunked import delta
from ownlm.model.recurrent.convolution import ShortConvolution
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads


@dataclass(frozen=True, slots=True)
class DeltaNet:
    """What a layer of the delta rule is."""

    num_heads: int
    head_dim: int
    """C, of keys and of values."""
    taps: int = 4
    """W: tokens that the short convolution sees; 1: the token alone, scaled."""
    chunk: int = 64
    """Tokens that training handles at once; any value gives the same numbers."""
    eps: float = 1e-5
    """Of the output's norm."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "taps", "chunk")

    def build(self, width: int, layer: int) -> nn.Module:
        return DeltaNetLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        heads = self.num_heads * self.head_dim
        return self.active_parameters(width) + 3 * heads * self.taps + self.head_dim

    def active_parameters(self, width: int) -> int:
        return width * (4 * self.num_heads * self.head_dim + self.num_heads)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: S k, the correction, q S (6 C^2 per head), and the convolutions."""
        return self.num_heads * self.head_dim * (6 * self.head_dim + 6 * self.taps)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S in float32 and the convolutions' last W - 1 tokens."""
        heads = self.num_heads * self.head_dim
        return 4 * heads * self.head_dim + 3 * dtype_bytes * heads * (self.taps - 1)


class DeltaNetLayer(Tapped):
    POINTS: ClassVar = {"unit_q": "B H T C", "unit_k": "B H T C", "strength": "B H T", "state": "B H C C", "mixed": "B H T C"}  # fmt: skip

    def __init__(self, spec: DeltaNet, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.num_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.q_convolution = ShortConvolution(heads, spec.taps)
        self.k_convolution = ShortConvolution(heads, spec.taps)
        self.v_convolution = ShortConvolution(heads, spec.taps)
        self.beta = nn.Linear(width, spec.num_heads, bias=False)
        self.head_norm = RMSNorm(spec.head_dim, spec.eps)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        state, *tails = kept(cache, self.layer) or (None, None, None, None)
        q, q_tail = self.q_convolution(self.q(x), tails[0])  # [B,T,H*C]
        k, k_tail = self.k_convolution(self.k(x), tails[1])
        v, v_tail = self.v_convolution(self.v(x), tails[2])
        q = self.tap("unit_q", unit(accurate(split_heads(q, H))))  # [B,H,T,C]
        k = self.tap("unit_k", unit(accurate(split_heads(k, H))))
        v = accurate(split_heads(v, H))
        b = self.tap("strength", accurate(self.beta(x)).sigmoid().transpose(1, 2))  # [B,H,T]
        mixed, state = delta(q, k, v, b, b.new_zeros(b.shape), state, self.spec.chunk)
        state = self.tap("state", state)
        keep(cache, self.layer, (state, q_tail, k_tail, v_tail))
        mixed = self.head_norm(self.tap("mixed", mixed).to(x.dtype))
        out: Tensor = self.o(join_heads(mixed))
        return out


def unit(x: Tensor) -> Tensor:
    """[..., C] of length one; eps inside the root, so that zero has a gradient."""
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
