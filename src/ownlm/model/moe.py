"""Mixture of experts: a feed-forward layer of which each token uses a few (Shazeer et al. 2017, arXiv:1701.06538).

    x ──┬── router ── which experts, what weights
        ├── expert e on its tokens, for every e that got any ── weighted sum ──┐
        └── shared expert, on all tokens (DeepSeekMoE, arXiv:2401.06066) ──────┴── out

Fine-grained experts (same paper) are a large `num_experts` of a small width: no switch of their own.

Letters: B batch, T time, D model width, E experts, k experts per token, A assignments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.layers import FeedForward
from ownlm.model.routing import BiasedSigmoidRouter, Choice, RouterSpec, TopK


class Routing(NamedTuple):
    """What happened in one forward. Tokens are numbered b * T + t."""

    logits: Tensor  # float32 [B, T, E]
    scores: Tensor  # float32 [B, T, E], with their gradient
    token: Tensor  # int64 [A]: of the assignments that were computed, sorted by expert
    expert: Tensor  # int64 [A]
    weight: Tensor  # float32 [A]
    load: Tensor  # int64 [E]: tokens that each expert worked on
    wanted: Tensor  # int64 [E]: tokens that were sent to it; what exceeds `load` was dropped

    @property
    def dropped(self) -> int:
        """Assignments for which there was no room."""
        return int(self.wanted.sum() - self.load.sum())


@dataclass(frozen=True, slots=True)
class MixtureOfExperts:
    """What such a layer is."""

    num_experts: int
    expert: FeedForward
    router: RouterSpec = TopK(2)
    shared: FeedForward | None = None
    """Works on every token; several shared experts of one width are one of their total width."""
    shared_gate: bool = False
    """The shared expert's output is multiplied by sigmoid(w x) (Qwen2-MoE)."""
    capacity_factor: float | None = None
    """Training only: an expert takes at most ceil(T * k / E * this) tokens of a row, the first ones; the others go
    without it (GShard, arXiv:2006.16668; Switch, arXiv:2101.03961, eq. 3, over a row instead of the batch).
    None, and always in eval mode: no limit, as a token's fate must not depend on its neighbours."""

    def __post_init__(self) -> None:
        if self.num_experts < 1 or (self.capacity_factor is not None and not self.capacity_factor > 0):
            raise UsageError("num_experts and capacity_factor must be positive.",
                             f"{self.num_experts}, {self.capacity_factor}", "correct them")  # fmt: skip
        if self.shared_gate and self.shared is None:
            raise UsageError("shared_gate needs a shared expert.", "shared = None", "give `shared`")
        self.router.build(1, self.num_experts)  # raises UsageError where they do not fit

    @property
    def causal(self) -> bool:
        return self.router.causal

    def build(self, width: int) -> Experts:
        return Experts(self, width)

    def num_parameters(self, width: int) -> int:
        shared = 0 if self.shared is None else self.shared.num_parameters(width) + self.shared_gate * width
        return self.num_experts * (width + self.expert.num_parameters(width)) + shared

    def active_parameters(self, width: int) -> int:
        """Router, the experts that a token uses on average, shared expert."""
        used = round(self.router.experts_per_token(self.num_experts) * self.expert.active_parameters(width))
        shared = 0 if self.shared is None else self.shared.active_parameters(width) + self.shared_gate * width
        return self.num_experts * width + used + shared


class Experts(Tapped):
    """After a forward, `routing` says what happened in it."""

    POINTS: ClassVar = {"routing_scores": "B T E", "routed": "B T D", "shared_out": "B T D"}

    def __init__(self, spec: MixtureOfExperts, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.router = spec.router.build(width, spec.num_experts)
        self.experts = nn.ModuleList(spec.expert.build(width) for _ in range(spec.num_experts))
        self.shared = None if spec.shared is None else spec.shared.build(width)
        self.shared_gate = nn.Linear(width, 1, bias=False) if spec.shared_gate else None
        self.routing: Routing | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The last forward's graph belongs to no copy, and torch refuses to copy it.
        return {**self.__dict__, "routing": None}

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        choice = self.router(x)
        choice = choice._replace(scores=self.tap("routing_scores", choice.scores))
        self.routing = routing = self.seat(choice)
        out = self.tap("routed", self.run(x, routing))
        if self.shared is not None:
            shared = self.shared(x)
            if self.shared_gate is not None:
                shared = self.shared_gate(x).sigmoid() * shared
            out = out + self.tap("shared_out", shared)
        return out

    def seat(self, choice: Choice) -> Routing:
        """Sort the assignments by expert, keep those for which there is room."""
        E = self.spec.num_experts
        order = choice.expert.argsort(stable=True)  # within an expert by token: first come, first served
        token, expert, weight = choice.token[order], choice.expert[order], choice.weight[order]
        wanted = load = torch.bincount(expert, minlength=E)
        if self.training and self.spec.capacity_factor is not None:
            B, T, _ = choice.scores.shape
            seats = math.ceil(T * self.spec.router.experts_per_token(E) / E * self.spec.capacity_factor)
            line = expert * B + token // T  # [A], ascending: one queue per expert and row
            ahead = torch.arange(len(line), device=line.device) - torch.searchsorted(line, line)
            kept = ahead < seats
            token, expert, weight = token[kept], expert[kept], weight[kept]
            load = torch.bincount(expert, minlength=E)
        return Routing(choice.logits, choice.scores, token, expert, weight, load, wanted)

    def run(self, x: Tensor, routing: Routing) -> Tensor:
        """Each expert once, on its own tokens only; then everything back to its place: [B, T, D]."""
        flat = x.reshape(-1, x.shape[-1])  # [B*T,D]
        pieces = flat[routing.token].split(routing.load.tolist())  # E of [load,D]
        outputs = [expert(piece) for expert, piece in zip(self.experts, pieces, strict=True) if len(piece)]
        if not outputs:
            return torch.zeros_like(x)
        weighted = torch.cat(outputs) * routing.weight[:, None].to(x.dtype)  # [A,D]
        return torch.zeros_like(flat).index_add(0, routing.token, weighted).view_as(x)


def expert_layers(model: nn.Module) -> Iterator[Experts]:
    """Every mixture in a model, in order."""
    return (module for module in model.modules() if isinstance(module, Experts))


def _last(layer: Experts) -> Routing:
    if layer.routing is None:
        raise UsageError("This layer has routed nothing yet.", type(layer).__name__, "run the model first")
    return layer.routing


def balance_loss(routing: Routing, alpha: float = 0.01) -> Tensor:
    """alpha * E * sum_i f_i P_i (Switch, arXiv:2101.03961, eq. 4-6): smallest when all experts get equal shares.

    f_i: tokens sent to expert i, before any is dropped, per token; P_i: its mean score, which alone has a gradient.
    """
    scores = routing.scores.flatten(0, 1)  # [N,E]
    share = routing.wanted / len(scores)  # f [E]
    return alpha * scores.shape[-1] * (share * scores.mean(dim=0)).sum()


def z_loss(routing: Routing, alpha: float = 0.001) -> Tensor:
    """alpha * mean(logsumexp(logits)^2) (ST-MoE, arXiv:2202.08906, eq. 5): keeps router logits small."""
    return alpha * routing.logits.logsumexp(dim=-1).square().mean()


def auxiliary_loss(model: nn.Module, alpha: float = 0.01, z: float = 0.0) -> Tensor:
    """Sum of both over all mixtures of a model, from its last forward. Raises UsageError where there is none."""
    losses = [balance_loss(_last(layer), alpha) + z_loss(_last(layer), z) for layer in expert_layers(model)]
    if not losses:
        raise UsageError("This model has no mixture of experts.", type(model).__name__, "leave the loss out")
    return torch.stack(losses).sum()


@torch.no_grad()
def update_bias(layer: Experts, rate: float = 0.001) -> None:
    """After a training step: raise the bias of experts with less than the mean load, lower that of those with more,
    by `rate` (arXiv:2408.15664, algorithm 1). Raises UsageError for a router without a bias."""
    if not isinstance(layer.router, BiasedSigmoidRouter):
        raise UsageError(
            "Only the BiasedSigmoid router has a bias.", type(layer.router).__name__, "use balance_loss"
        )
    wanted = _last(layer).wanted.to(layer.router.bias.dtype)
    layer.router.bias += rate * torch.sign(wanted.mean() - wanted)
