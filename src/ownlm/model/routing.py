"""Routers of a mixture of experts: which experts work on which token, and with what weight. One concept a class.

    TopK           softmax, the k best; Switch with k = 1, Mixtral, Qwen3-MoE
    ExpertChoice   each expert takes the tokens that suit it best; not causal
    GroupLimited   DeepSeek-V2: the k best within the best groups of experts
    BiasedSigmoid  DeepSeek-V3: sigmoid scores, a bias that only decides the choice and balances the load

Scores are computed in float32 whatever the weights' dtype: bf16 logits tie often, and a tie is another expert.

Letters: B batch, T time, D model width, E experts, k experts per token, A assignments (pairs of token and expert).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError


class Choice(NamedTuple):
    """What a router says about one forward. Tokens are numbered row by row: b * T + t."""

    logits: Tensor  # float32 [B, T, E]
    scores: Tensor  # float32 [B, T, E]: probabilities over the experts, the P of the balancing loss
    token: Tensor  # int64 [A]
    expert: Tensor  # int64 [A]
    weight: Tensor  # float32 [A]: of the expert's output in the token's sum


class RouterSpec(Protocol):
    """A frozen dataclass here; its module has forward(x [B, T, D]) -> Choice."""

    causal: bool
    """Whether a token's experts depend on no later token."""

    def build(self, width: int, num_experts: int) -> nn.Module: ...
    def experts_per_token(self, num_experts: int) -> float:
        """On average."""
        ...


class _Router(nn.Module):
    """What all have: one row of weights per expert."""

    def __init__(self, width: int, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, width))  # [E,D]; drawn by the decoder

    def logits(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> float32 [B, T, E]."""
        return F.linear(x.float(), self.weight.float())


def _chosen(logits: Tensor, scores: Tensor, experts: Tensor, weights: Tensor) -> Choice:
    """From experts and weights [B, T, k]."""
    k = experts.shape[-1]
    token = torch.arange(experts.numel() // k, device=experts.device).repeat_interleave(k)
    return Choice(logits, scores, token, experts.flatten(), weights.flatten())


def _check_k(k: int, num_experts: int) -> None:
    if not 1 <= k <= num_experts:
        raise UsageError(
            "A token can use 1 to all experts.", f"k = {k}, {num_experts} experts", "change one of them"
        )


@dataclass(frozen=True, slots=True)
class TopK:
    """The k experts of the highest probability (Shazeer et al. 2017, arXiv:1701.06538).

    k = 1 without `normalize` is Switch (Fedus et al. 2021, arXiv:2101.03961, eq. 1-2; without its input jitter);
    k = 2 with it is Mixtral (arXiv:2401.04088: softmax over the k logits is the same number).
    """

    k: int
    normalize: bool = True
    """Divide the k probabilities by their sum; with k = 1 every weight is then 1 and the router learns nothing."""
    causal = True

    def build(self, width: int, num_experts: int) -> TopKRouter:
        _check_k(self.k, num_experts)
        return TopKRouter(self, width, num_experts)

    def experts_per_token(self, num_experts: int) -> float:
        return self.k


class TopKRouter(_Router):
    def __init__(self, spec: TopK, width: int, num_experts: int) -> None:
        super().__init__(width, num_experts)
        self.spec = spec

    def forward(self, x: Tensor) -> Choice:
        logits = self.logits(x)
        scores = logits.softmax(dim=-1)  # [B,T,E]
        weights, experts = scores.topk(self.spec.k, dim=-1)  # [B,T,k]
        if self.spec.normalize:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return _chosen(logits, scores, experts, weights)


@dataclass(frozen=True, slots=True)
class ExpertChoice:
    """Each expert takes its T * capacity / E best tokens (Zhou et al. 2022, arXiv:2202.09368, section 3.2).

    A token's experts depend on the tokens after it: no decoding token by token, and a language model that trains
    with it sees a trace of its future. The paper chooses among all tokens of a batch; we choose within each row,
    so that rows stay independent. A token may get no expert at all.
    """

    capacity: float = 2.0
    """Experts per token on average."""
    causal = False

    def __post_init__(self) -> None:
        if not self.capacity > 0:
            raise UsageError("capacity must be positive.", f"capacity = {self.capacity}", "1 or 2 is usual")

    def build(self, width: int, num_experts: int) -> ExpertChoiceRouter:
        return ExpertChoiceRouter(self, width, num_experts)

    def experts_per_token(self, num_experts: int) -> float:
        return min(self.capacity, num_experts)


class ExpertChoiceRouter(_Router):
    def __init__(self, spec: ExpertChoice, width: int, num_experts: int) -> None:
        super().__init__(width, num_experts)
        self.spec = spec

    def forward(self, x: Tensor) -> Choice:
        B, T, _ = x.shape
        logits = self.logits(x)
        scores = logits.softmax(dim=-1)  # [B,T,E]
        E = scores.shape[-1]
        seats = min(T, max(1, math.ceil(T * self.spec.capacity / E)))
        weights, places = scores.transpose(1, 2).topk(seats, dim=-1)  # [B,E,seats]
        token = places + T * torch.arange(B, device=x.device)[:, None, None]
        expert = torch.arange(E, device=x.device)[None, :, None].expand_as(token)
        return Choice(logits, scores, token.flatten(), expert.flatten(), weights.flatten())


def _check_groups(num_experts: int, k: int, num_groups: int, groups_per_token: int, least: int) -> None:
    """least: experts that a group needs at least."""
    size = num_experts // max(1, num_groups)
    fits = num_groups >= 1 and num_experts % num_groups == 0 and 1 <= groups_per_token <= num_groups
    if not fits or size < least or k > groups_per_token * size:
        raise UsageError(
            "The groups of experts do not fit.",
            f"{num_experts} experts in {num_groups} groups, {groups_per_token} groups and {k} experts per token",
            f"equal groups of at least {least}, and enough experts in the chosen groups",
        )


def _outside(group_scores: Tensor, groups_per_token: int, num_experts: int) -> Tensor:
    """True for experts of all but the best groups: group_scores [B, T, groups] -> bool [B, T, E]."""
    best = group_scores.topk(groups_per_token, dim=-1).indices
    outside = torch.ones_like(group_scores, dtype=torch.bool).scatter(-1, best, False)
    return outside.repeat_interleave(num_experts // group_scores.shape[-1], dim=-1)


@dataclass(frozen=True, slots=True)
class GroupLimited:
    """The k best experts among the groups whose best expert is best (DeepSeek-V2, arXiv:2405.04434, 2.2.2).

    A group stands for a device; a token then travels to few. Weights are probabilities over all experts times
    `scale`, not normalised.
    """

    k: int
    num_groups: int
    groups_per_token: int
    scale: float = 1.0
    causal = True

    def build(self, width: int, num_experts: int) -> GroupLimitedRouter:
        _check_k(self.k, num_experts)
        _check_groups(num_experts, self.k, self.num_groups, self.groups_per_token, 1)
        return GroupLimitedRouter(self, width, num_experts)

    def experts_per_token(self, num_experts: int) -> float:
        return self.k


class GroupLimitedRouter(_Router):
    def __init__(self, spec: GroupLimited, width: int, num_experts: int) -> None:
        super().__init__(width, num_experts)
        self.spec = spec

    def forward(self, x: Tensor) -> Choice:
        logits = self.logits(x)
        scores = logits.softmax(dim=-1)  # [B,T,E]
        E = scores.shape[-1]
        groups = scores.unflatten(-1, (self.spec.num_groups, -1)).amax(dim=-1)  # [B,T,groups]
        outside = _outside(groups, self.spec.groups_per_token, E)
        weights, experts = scores.masked_fill(outside, 0.0).topk(self.spec.k, dim=-1)  # [B,T,k]
        return _chosen(logits, scores, experts, weights * self.spec.scale)


@dataclass(frozen=True, slots=True)
class BiasedSigmoid:
    """Sigmoid scores; a bias per expert takes part in the choice and not in the weight (DeepSeek-V3,
    arXiv:2412.19437, eq. 13-16; balancing without a loss: Wang et al. 2024, arXiv:2408.15664).

    A group's score is the sum of its two best biased scores. The bias is no parameter: `moe.update_bias` moves it.
    """

    k: int
    num_groups: int = 1
    groups_per_token: int = 1
    normalize: bool = True
    """Divide the k scores by their sum."""
    scale: float = 1.0
    causal = True

    def build(self, width: int, num_experts: int) -> BiasedSigmoidRouter:
        _check_k(self.k, num_experts)
        _check_groups(
            num_experts, self.k, self.num_groups, self.groups_per_token, 2 if self.num_groups > 1 else 1
        )
        return BiasedSigmoidRouter(self, width, num_experts)

    def experts_per_token(self, num_experts: int) -> float:
        return self.k


class BiasedSigmoidRouter(_Router):
    bias: Tensor

    def __init__(self, spec: BiasedSigmoid, width: int, num_experts: int) -> None:
        super().__init__(width, num_experts)
        self.spec = spec
        self.register_buffer("bias", torch.zeros(num_experts))  # [E]

    def forward(self, x: Tensor) -> Choice:
        logits = self.logits(x)
        raw = logits.sigmoid()  # [B,T,E]
        E, biased = raw.shape[-1], raw.detach() + self.bias.float()
        if self.spec.num_groups > 1:
            groups = biased.unflatten(-1, (self.spec.num_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
            biased = biased.masked_fill(_outside(groups, self.spec.groups_per_token, E), float("-inf"))
        experts = biased.topk(self.spec.k, dim=-1).indices  # [B,T,k]
        weights = raw.gather(-1, experts)
        if self.spec.normalize:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        scores = raw / (raw.sum(dim=-1, keepdim=True) + 1e-20)  # as V3's sequence-wise loss has it, eq. 19
        return _chosen(logits, scores, experts, weights * self.spec.scale)
