"""A memory that is a small network and learns while it reads: the long-term memory of Titans.

Behrouz, Zhong & Mirrokni 2025, "Titans", arXiv:2501.00663, equations 8 to 15. For each token

    loss      |M(k_t) - v_t|^2 / 2                                    what does not fit is a surprise
    S_t     = m_t S_{t-1} - r_t grad loss(M'; k_t, v_t)               past and momentary surprise
    M_t     = (1 - a_t) M_{t-1} + S_t                                 forgetting
    y_t     = M_t(q_t)                                                recall, without a step

M' is the memory where the chunk of `chunk` tokens began (section 3.2): part of what is computed, not only of how.
q, k, v pass a short convolution with SiLU, q and k have length one; a_t, m_t, r_t depend on the token; the recall is
normalised and gated (section 4.4). The factor 1/2 makes r_t the step itself. M has one or two layers (GELU), without
the residual connection of the authors' deeper memories, and there is one per head.

This is the memory alone (LMM in the paper). A layer of it before a layer of GroupedQuery(window=...) is "memory as a
layer" (MAL, section 4.3).

Letters: B batch, T time, D model width, H heads, C head width, E hidden width of a two-layer memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.layers import RMSNorm
from ownlm.model.place import Cache, Place
from ownlm.model.recurrent import fast_weights as fast
from ownlm.model.recurrent.convolution import ShortConvolution
from ownlm.model.recurrent.delta_net import unit
from ownlm.model.recurrent.state import accurate, check_sizes, join_heads, keep, kept, pieces, split_heads


@dataclass(frozen=True, slots=True)
class NeuralMemory:
    """What a layer of neural memory is."""

    num_heads: int
    """H: memories side by side."""
    head_dim: int
    """C, of keys and of values."""
    hidden: int | None = None
    """E: width of the memory's hidden layer; None: the memory is one matrix."""
    chunk: int = 16
    """Tokens whose gradients are taken at the same memory; 1 is the purely sequential rule."""
    rate: float | None = None
    """Largest step r of a token; None: 1 / chunk, so that a chunk of equal keys takes at most one whole step.
    Larger sums overshoot and can grow without bound on a text that repeats itself."""
    taps: int = 4
    """Tokens that the short convolution sees."""
    eps: float = 1e-6
    """Of the recall's norm."""

    def __post_init__(self) -> None:
        check_sizes(self, "num_heads", "head_dim", "hidden", "chunk", "taps")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise UsageError("The largest step of a neural memory must be positive.", f"rate = {self.rate}", "correct it")  # fmt: skip

    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(I, O) of each layer of the memory."""
        C, E = self.head_dim, self.hidden
        return ((C, C),) if E is None else ((C, E), (E, C))

    def memory_numbers(self) -> int:
        return self.num_heads * sum(i * o for i, o in self.shapes())

    def build(self, width: int, layer: int) -> nn.Module:
        return NeuralMemoryLayer(self, width, layer)

    def num_parameters(self, width: int) -> int:
        convolutions = 3 * self.num_heads * self.head_dim * self.taps
        gates = 3 * self.num_heads
        return self.active_parameters(width) + convolutions + gates + self.memory_numbers() + self.head_dim

    def active_parameters(self, width: int) -> int:
        return width * (5 * self.num_heads * self.head_dim + 3 * self.num_heads)

    def mixing_flops(self, context: int) -> int:
        """Per token, whatever the context: memory forward, backward, step and recall (two each), the convolutions."""
        return 10 * self.memory_numbers() + 6 * self.num_heads * self.head_dim * self.taps

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return 0

    def state_bytes(self, width: int, dtype_bytes: int = 4) -> int:
        """Of one sequence, however long: memory, memory at the chunk's start and momentum in float32; 3 tails."""
        tails = 3 * self.num_heads * self.head_dim * (self.taps - 1)
        return 4 * 3 * self.memory_numbers() + dtype_bytes * tails


class NeuralMemoryLayer(Tapped):
    POINTS: ClassVar = {"rate": "B H T", "log_keeping": "B H T", "log_momentum": "B H T", "surprise": "B H T", "recalled": "B H T C"}  # fmt: skip

    def __init__(self, spec: NeuralMemory, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        H, heads = spec.num_heads, spec.num_heads * spec.head_dim
        self.q = nn.Linear(width, heads, bias=False)
        self.k = nn.Linear(width, heads, bias=False)
        self.v = nn.Linear(width, heads, bias=False)
        self.gate = nn.Linear(width, heads, bias=False)
        self.q_convolution = ShortConvolution(heads, spec.taps)
        self.k_convolution = ShortConvolution(heads, spec.taps)
        self.v_convolution = ShortConvolution(heads, spec.taps)
        self.rules = nn.Linear(width, 3 * H, bias=False)
        # sigmoid of it at the start: half the largest step, momentum 1/4, forgetting 1 in 100 per token.
        self.rule_start = nn.Parameter(torch.tensor([0.0, -1.1, -4.6]).repeat_interleave(H))  # [3 H]
        self.memory = nn.ParameterList(
            torch.zeros(H, i, o) for i, o in spec.shapes()
        )  # the memory of an empty text
        self.recall_norm = RMSNorm(spec.head_dim, spec.eps)
        self.o = nn.Linear(heads, width, bias=False)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        H = self.spec.num_heads
        state, *tails = kept(cache, self.layer) or (None, None, None, None)
        q, q_tail = self.q_convolution(self.q(x), tails[0])  # [B,T,H*C]
        k, k_tail = self.k_convolution(self.k(x), tails[1])
        v, v_tail = self.v_convolution(self.v(x), tails[2])
        q, k, v = (accurate(split_heads(y, H)) for y in (q, k, v))  # [B,H,T,C]
        state = self.start(x.shape[0], k) if state is None else fast.FastState(*state)
        recalled, state = self.learn(unit(q), unit(k), v, self.rules_of(x), state)
        keep(cache, self.layer, (tuple(state), q_tail, k_tail, v_tail))
        recalled = self.recall_norm(self.tap("recalled", recalled).to(x.dtype))
        out: Tensor = self.o(join_heads(recalled) * F.silu(self.gate(x)))
        return out

    def start(self, num_rows: int, like: Tensor) -> fast.FastState:
        weights = tuple(w.to(like.dtype).expand(num_rows, *w.shape) for w in self.memory)
        return fast.FastState(weights, weights, tuple(torch.zeros_like(w) for w in weights), 0)

    def rules_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rate r, log m and log (1 - a) of each token, [B, H, T] each."""
        raw = (accurate(self.rules(x)) + accurate(self.rule_start)).transpose(1, 2)  # [B,3H,T]
        rate, momentum, forgetting = raw.chunk(3, dim=1)
        rate = self.tap("rate", (self.spec.rate or 1 / self.spec.chunk) * rate.sigmoid())
        momentum = self.tap("log_momentum", F.logsigmoid(momentum))
        keeping = self.tap("log_keeping", F.logsigmoid(-forgetting))  # 1 - sigmoid(a) = sigmoid(-a)
        return rate, momentum, keeping

    def learn(
        self, q: Tensor, k: Tensor, v: Tensor, rules: tuple[Tensor, Tensor, Tensor], state: fast.FastState
    ) -> tuple[Tensor, fast.FastState]:
        """q, k, v [B, H, T, C] -> what each token recalls [B, H, T, C], and the memory after the last."""
        found, surprises = [], []
        for a, b, full in pieces(q.shape[2], state.n, self.spec.chunk):
            inputs, outputs = fast.forward(state.start, k[:, :, a:b], False)
            error = outputs[-1] - v[:, :, a:b]
            surprises.append(error.norm(dim=-1))
            learned = fast.Learned(inputs, fast.deltas(state.start, outputs, error, False))
            rate, momentum, keeping = (rule[:, :, a:b] for rule in rules)
            steps = fast.momentum_steps(rate, momentum, keeping)
            found.append(fast.read(state, learned, steps, q[:, :, a:b], False))
            state = fast.advance(state, learned, steps, full)
        self.tap("surprise", torch.cat(surprises, dim=2))
        return torch.cat(found, dim=2), state
