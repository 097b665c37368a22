"""What a masked-diffusion model is trained on: an upper bound of the negative log likelihood.

A token stands at time t with probability alpha(t), which falls from 1 to 0. In continuous time the bound is
    E_t [ -alpha'(t) / (1 - alpha(t)) * sum over masked tokens of -log p(token) ]      (MDLM, arXiv:2406.07524, eq. 10)
the same number for every schedule; schedules differ in the variance of its estimate only.

Letters: B batch, T time, V vocabulary (without the mask).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.diffusion_lm import DiffusionLM


@dataclass(frozen=True, slots=True)
class Schedule:
    """How tokens vanish between t = 0 (all stand) and t = 1 (all are masked)."""

    kind: Literal["linear", "cosine", "polynomial", "geometric"] = "linear"
    power: float = 2.0
    """polynomial: alpha = 1 - t ** power."""
    noise: tuple[float, float] = (1e-4, 20.0)
    """geometric (SEDD): total noise -log alpha goes from the first to the second number by a constant factor."""

    def __post_init__(self) -> None:
        known = ("linear", "cosine", "polynomial", "geometric")
        if self.kind not in known or self.power <= 0 or not 0 < self.noise[0] < self.noise[1]:
            raise UsageError("This noise schedule is not possible.", str(self), f"kinds: {', '.join(known)}")

    def alpha(self, t: Tensor) -> Tensor:
        """Probability that a token still stands at t in [0, 1]."""
        if self.kind == "linear":
            return 1 - t
        if self.kind == "cosine":
            return 1 - torch.cos(math.pi / 2 * (1 - t))
        if self.kind == "polynomial":
            return 1 - t**self.power
        return torch.exp(-self._total_noise(t))

    def weight(self, t: Tensor) -> Tensor:
        """-alpha'(t) / (1 - alpha(t)): what a masked token's loss at time t counts."""
        if self.kind == "linear":
            return 1 / t
        if self.kind == "cosine":
            return math.pi / 2 * torch.tan(math.pi / 2 * (1 - t))
        if self.kind == "polynomial":
            return self.power / t
        total = self._total_noise(t)
        return total * math.log(self.noise[1] / self.noise[0]) / torch.expm1(total)

    def _total_noise(self, t: Tensor) -> Tensor:
        return self.noise[0] ** (1 - t) * self.noise[1] ** t


def noised(ids: Tensor, alpha: Tensor, mask_id: int, random: torch.Generator) -> Tensor:
    """ids [B, T], alpha [B] -> ids of which each stands with probability alpha and is mask_id else."""
    stands = torch.rand(ids.shape, generator=random, device=ids.device) < alpha[:, None]
    return torch.where(stands, ids, mask_id)


def times(batch: int, random: torch.Generator, device: torch.device | None = None) -> Tensor:
    """[B] times in (0, 1], one in each of B equal parts: their mean loss varies less than of independent ones."""
    start = torch.rand(1, generator=random, device=device)
    t = (torch.arange(batch, device=device) + start) / batch
    return t.clamp(min=1e-5)  # the weight grows as 1/t, while the chance that anything is masked falls as t


def elbo_loss(
    model: DiffusionLM,
    ids: Tensor,
    random: torch.Generator,
    schedule: Schedule | None = None,
    learnt: Tensor | None = None,
) -> Tensor:
    """ids [B, T] of text -> an unbiased estimate of the bound, nats per learnt token, a scalar.

    learnt: bool [B, T]; False for prompts (never masked, LLaDA section 2.3) and padding. None: all are learnt.
    """
    schedule = schedule or Schedule()
    t = times(ids.shape[0], random, ids.device)
    noisy = noised(ids, schedule.alpha(t), model.config.mask_id, random)
    if learnt is not None:
        noisy = torch.where(learnt, noisy, ids)
    each = schedule.weight(t)[:, None] * _guess(model, noisy, ids)  # [B,T]
    return each.sum() / (ids.numel() if learnt is None else learnt.sum().clamp(min=1))


def exact_count_loss(model: DiffusionLM, ids: Tensor, random: torch.Generator) -> Tensor:
    """The same bound with less variance: l masks with l uniform in 1..T, each counting T / l (LLaDA, eq. 6).

    ids [B, T] -> nats per token, a scalar.
    """
    B, T = ids.shape
    count = torch.randint(1, T + 1, (B, 1), generator=random, device=ids.device)
    rank = torch.rand(ids.shape, generator=random, device=ids.device).argsort(dim=1).argsort(dim=1)
    noisy = torch.where(rank < count, model.config.mask_id, ids)
    return (_guess(model, noisy, ids) * (T / count)).mean()


def _guess(model: DiffusionLM, noisy: Tensor, ids: Tensor) -> Tensor:
    """-log p of each masked token, 0 for those that stand: [B, T]."""
    logits = model(noisy)
    nats = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    return torch.where(noisy == model.config.mask_id, nats, 0.0)


def score_entropy(
    log_score: Tensor, noisy: Tensor, ids: Tensor, total_noise: Tensor, rate: Tensor, mask_id: int
) -> Tensor:
    """The denoising score entropy of SEDD (Lou et al. 2023, arXiv:2310.16834, eq. 10, absorbing case): [B].

    log_score [B, T, V]: log of the model's ratios p_t(x with y here) / p_t(x), for a masked place here. For the
    true token the ratio given the text is r = 1 / (exp(total_noise) - 1), for the others 0. Each masked place costs
        rate * (sum_y s_y - r log s_token + r (log r - 1))
    which is at least 0, and 0 exactly at the ratios. total_noise, rate [B]: -log alpha and its derivative in t.
    """
    ratio = 1 / torch.expm1(total_noise)[:, None]  # [B,1]
    of_token = log_score.gather(-1, ids[..., None]).squeeze(-1)  # [B,T]
    cost = log_score.exp().sum(-1) - ratio * of_token + ratio * (ratio.log() - 1)
    return rate * torch.where(noisy == mask_id, cost, 0.0).sum(-1)
