"""Test-time training layers: the state is a model that is trained on the text while it is read.

Sun et al. 2024, "Learning to (Learn at Test Time)", arXiv:2407.04620, equations 1 to 7 and section 2.7:

    f(x; W) = x + LayerNorm(g(x; W)),    g one linear layer (TTT-Linear) or two with GELU between (TTT-MLP)
    loss    = |f(k_t; W) - v_t|^2 / 2
    W_t     = W_{t-1} - rate_t grad loss(W'; k_t, v_t),    W' the weights where the mini-batch of `chunk` tokens began
    z_t     = f(q_t; W_t)
    rate_t  = base * sigmoid(rate x_t) / C

W_0 and the LayerNorm are learned with the model. As in the authors' code, not in the paper's formula: the factor 1/2,
the division by C (keys have length of order sqrt(C)), a gate and a norm on the output. q and k are rotated by their
position within the mini-batch in the authors' code; here by `rope` as everywhere, or not at all.

Letters: B batch, T time, D model width, H heads, C head width, E hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model.hooks import Tapped
from ownlm.model.layers import RMSNorm
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope, rotate
from ownlm.model.recurrent import fast_weights as fast
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, pieces, split_heads


@dataclass(frozen=True, slots=True)
class TestTimeTraining:
    """What a test-time training layer is."""

    __test__: ClassVar = False  # pytest: no test, in spite of its name

    num_heads: int
    head_dim: int
    """C."""
    hidden: int | None = None
    """E: width of the inner model's hidden layer (TTT-MLP; the paper takes 4 C); None: TTT-Linear."""
    chunk: int = 16
    """Mini-batch: tokens whose gradients are taken at the same weights."""
    rope: Rope | None = None
    base: float = 1.0
    """Largest inner learning rate; the paper takes 1.0 for TTT-Linear, 0.1 for TTT-MLP."""
    eps: float = 1e-6
    """Of both norms."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "hidden", "chunk")

    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(I + 1 for the bias, O) of each layer of the inner model."""
        C, E = self.head_dim, self.hidden
        return ((C + 1, C),) if E is None else ((C + 1, E), (E + 1, C))

    def inner_numbers(self) -> int:
        return self.num_heads * sum(i * o for i, o in self.shapes())

    def build(self, width: int, layer: int) -> nn.Module:
        return TestTimeTrainingLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        norms = 2 * self.num_heads * self.head_dim + self.head_dim
        return self.active_parameters(width) + self.num_heads + self.inner_numbers() + norms

    def active_parameters(self, width: int) -> int:
        return width * (5 * self.num_heads * self.head_dim + self.num_heads)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: inner forward, backward, step and reading."""
        return 8 * self.inner_numbers()

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: the inner weights now and at the mini-batch's start, in float32."""
        return 4 * 2 * self.inner_numbers()


class TestTimeTrainingLayer(Tapped):
    __test__ = False
    POINTS: ClassVar = {"rate": "B H T", "error": "B H T C", "read": "B H T C"}

    def __init__(self, spec: TestTimeTraining, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        H, C = spec.num_heads, spec.head_dim
        self.q = nn.Linear(width, H * C, bias=False)
        self.k = nn.Linear(width, H * C, bias=False)
        self.v = nn.Linear(width, H * C, bias=False)
        self.gate = nn.Linear(width, H * C, bias=False)
        self.rate = nn.Linear(width, H, bias=True)
        self.inner = nn.ParameterList(
            torch.zeros(H, i, o) for i, o in spec.shapes()
        )  # W_0; last row: the bias
        self.inner_norm = InnerNorm(H, C, spec.eps)
        self.read_norm = RMSNorm(C, spec.eps)
        self.o = nn.Linear(H * C, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        q, k, v = (accurate(split_heads(f(x), H)) for f in (self.q, self.k, self.v))  # [B,H,T,C]
        if place.cos is not None and place.sin is not None:
            q, k = rotate(q, place.cos, place.sin), rotate(k, place.cos, place.sin)
        rate = self.spec.base / self.spec.head_dim * accurate(self.rate(x)).sigmoid().transpose(1, 2)
        state = kept(cache, self.layer)
        state = self.start(x.shape[0], k) if state is None else fast.FastState(*state)
        found, state = self.train_and_read(q, k, v, self.tap("rate", rate), state)
        keep(cache, self.layer, tuple(state))
        found = self.read_norm(self.tap("read", found).to(x.dtype))
        out: Tensor = self.o(join_heads(found) * F.gelu(self.gate(x)))
        return out

    def start(self, num_rows: int, like: Tensor) -> fast.FastState:
        weights = tuple(w.to(like.dtype).expand(num_rows, *w.shape) for w in self.inner)
        return fast.FastState(weights, weights, (), 0)

    def train_and_read(
        self, q: Tensor, k: Tensor, v: Tensor, rate: Tensor, state: fast.FastState
    ) -> tuple[Tensor, fast.FastState]:
        """q, k, v [B, H, T, C], rate [B, H, T] -> z [B, H, T, C] and the weights after the last token."""
        found, errors = [], []
        for a, b, full in pieces(q.shape[2], state.n, self.spec.chunk):
            keys = k[:, :, a:b]
            inputs, outputs = fast.forward(state.start, keys, True)
            error = keys + self.inner_norm(outputs[-1]) - v[:, :, a:b]  # dloss/df
            errors.append(error)
            last = self.inner_norm.backward(outputs[-1], error)
            learned = fast.Learned(inputs, fast.deltas(state.start, outputs, last, True))
            steps = fast.plain_steps(rate[:, :, a:b])
            asked = q[:, :, a:b]
            found.append(asked + self.inner_norm(fast.read(state, learned, steps, asked, True)))
            state = fast.advance(state, learned, steps, full)
        self.tap("error", torch.cat(errors, dim=2))
        return torch.cat(found, dim=2), state


class InnerNorm(nn.Module):
    """LayerNorm over each head's C features with weights of its own, and its derivative written out."""

    def __init__(self, num_heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.eps, self.shape = eps, (num_heads, 1, head_dim)
        self.weight = nn.Parameter(torch.ones(num_heads * head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads * head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, T, C] -> [B, H, T, C]."""
        weight, bias = self.weight.to(x.dtype).view(self.shape), self.bias.to(x.dtype).view(self.shape)
        return self._whitened(x)[0] * weight + bias

    def backward(self, x: Tensor, slope: Tensor) -> Tensor:
        """Derivative by x, given that by the output, all [B, H, T, C]."""
        white, scale = self._whitened(x)
        slope = slope * self.weight.to(x.dtype).view(self.shape)
        return (slope - slope.mean(-1, keepdim=True) - white * (slope * white).mean(-1, keepdim=True)) * scale

    def _whitened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return centred * scale, scale
