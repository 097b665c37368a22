"""Linear attention: softmax replaced by a feature map, so that the past is one matrix per head.

Katharopoulos et al. 2020, "Transformers are RNNs", arXiv:2006.16236, equations 7 to 10 and 16 to 20:

    S_t = S_{t-1} + f(k_t) v_t^T,   z_t = z_{t-1} + f(k_t),   o_t = f(q_t)^T S_t / (f(q_t)^T z_t),   f(x) = elu(x) + 1

z is carried as a further value column of ones. Deviation: none in the formula; where all features underflow to
zero the output is zero instead of 0/0.

Letters: B batch, T time, D model width, H heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent.chunked import decayed
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, split_heads


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """What a layer of linear attention is."""

    num_heads: int
    head_dim: int
    """C."""
    chunk: int = 64
    """Tokens that training handles at once; any value gives the same numbers."""
    bias: bool = False
    """Of q, k and v."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "chunk")

    def build(self, width: int, layer: int) -> nn.Module:
        return LinearAttentionLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        heads = self.num_heads * self.head_dim
        return 4 * width * heads + (3 * heads if self.bias else 0)

    def active_parameters(self, width: int) -> int:
        return 4 * width * self.num_heads * self.head_dim

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: k v^T into the state and q S out of it."""
        return 4 * self.num_heads * self.head_dim * (self.head_dim + 1)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: S and z in float32."""
        return 4 * self.num_heads * self.head_dim * (self.head_dim + 1)


class LinearAttentionLayer(Tapped):
    POINTS: ClassVar = {
        "q_features": "B H T C",
        "k_features": "B H T C",
        "state": "B H C C+1",
        "mixed": "B H T C",
    }

    def __init__(self, spec: LinearAttention, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        heads = spec.num_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=spec.bias)
        self.k = nn.Linear(width, heads, bias=spec.bias)
        self.v = nn.Linear(width, heads, bias=spec.bias)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        q = self.tap("q_features", features(accurate(split_heads(self.q(x), H))))  # [B,H,T,C]
        k = self.tap("k_features", features(accurate(split_heads(self.k(x), H))))
        v = F.pad(accurate(split_heads(self.v(x), H)), (0, 1), value=1.0)  # [B,H,T,C+1]
        no_decay = q.new_zeros(1, H, x.shape[1])
        sums, state = decayed(q, k, v, no_decay, kept(cache, self.layer), self.spec.chunk)
        keep(cache, self.layer, self.tap("state", state))
        mixed = self.tap("mixed", averaged(sums)).to(x.dtype)
        out: Tensor = self.o(join_heads(mixed))
        return out


def features(x: Tensor) -> Tensor:
    """elu(x) + 1, written without the loss of digits of exp(x) - 1 + 1."""
    return torch.where(x > 0, x + 1, x.clamp_max(0).exp())


def averaged(sums: Tensor) -> Tensor:
    """Weighted sums of values with the sum of their weights as last column, [..., C+1] -> their mean [..., C].

    Weights of zero give zero. (A clamp instead would make the gradient 1/tiny, and 0 * inf a NaN.)
    """
    weight = sums[..., -1:]
    return sums[..., :-1] / torch.where(weight > 0, weight, 1.0)
