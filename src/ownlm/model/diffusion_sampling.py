"""Text out of a masked-diffusion model: all masks are guessed at once, some guesses are kept, again and again.

`fill` is generation (a canvas of masks behind a prompt), infilling (masks anywhere) and semi-autoregressive
decoding (blocks from left to right, LLaDA, arXiv:2502.09992, section 2.4) in one; `ancestral` is the exact reverse
process of MDLM (arXiv:2406.07524, eq. 6 and 7).

Letters: B batch, T time, V vocabulary (without the mask).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.diffusion_lm import DiffusionLM
from ownlm.model.diffusion_loss import Schedule

Order = Literal["confidence", "random"]


def canvas(prompt: Tensor, num_tokens: int, mask_id: int) -> Tensor:
    """prompt [B, T] -> [B, T + num_tokens] with masks at the end."""
    return torch.nn.functional.pad(prompt, (0, num_tokens), value=mask_id)


@torch.no_grad()
def fill(
    model: DiffusionLM,
    ids: Tensor,
    num_steps: int,
    random: torch.Generator,
    *,
    order: Order = "confidence",
    temperature: float = 1.0,
    block: int | None = None,
) -> Tensor:
    """ids [B, T] with masks -> the same with every mask filled; standing tokens are never touched.

    In each of `num_steps` steps (network passes) equal shares of the masks are kept: those whose guess is surest,
    or random ones; the other guesses are masked again. num_steps = number of masks with order="random" and
    temperature 1 draws from the model's any-order distribution exactly. temperature 0: the best guess.
    block: masks are filled in blocks of this many places from left to right, each with its share of the steps.
    """
    mask_id, T = model.config.mask_id, ids.shape[1]
    if (
        num_steps < 1
        or temperature < 0
        or order not in ("confidence", "random")
        or (block is not None and block < 1)
    ):
        raise UsageError("This way of filling is not possible.",
                         f"num_steps = {num_steps}, temperature = {temperature}, order = {order!r}, block = {block}",
                         "at least 1 step, temperature >= 0, order confidence or random, block >= 1")  # fmt: skip
    ids = ids.clone()
    starts = range(0, T, T if block is None else block) if T else range(0)
    blocks = [torch.arange(T, device=ids.device).sub(s).ge(0) & (torch.arange(T, device=ids.device) < s + (block or T))
              for s in starts]  # fmt: skip
    blocks = [places for places in blocks if bool((ids[:, places] == mask_id).any())]
    if num_steps < len(blocks):
        raise UsageError("Every block needs a step.", f"num_steps = {num_steps}, {len(blocks)} blocks with masks",
                         "take more steps or larger blocks")  # fmt: skip
    for n, places in enumerate(blocks):
        steps = num_steps * (n + 1) // len(blocks) - num_steps * n // len(blocks)
        for left in range(steps, 0, -1):
            _keep_some(model, ids, places, left, random, order, temperature)
    return ids


def _keep_some(
    model: DiffusionLM,
    ids: Tensor,
    places: Tensor,
    steps_left: int,
    random: torch.Generator,
    order: str,
    temperature: float,
) -> None:
    """One step, in place: of each row's masks in `places` [T] the 1/steps_left surest (rounded up) are filled."""
    masked = (ids == model.config.mask_id) & places  # [B,T]
    if not bool(masked.any()):
        return
    guess, sureness = guesses(model(ids), random, temperature)
    if order == "random":
        sureness = torch.rand(ids.shape, generator=random, device=ids.device)
    count = (masked.sum(1, keepdim=True) + steps_left - 1) // steps_left  # [B,1]
    rank = torch.where(masked, sureness, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    ids.copy_(torch.where(masked & (rank < count), guess, ids))


def guesses(logits: Tensor, random: torch.Generator, temperature: float) -> tuple[Tensor, Tensor]:
    """logits [B, T, V] -> a guess per place [B, T] and its probability [B, T] at temperature 1."""
    B, T, V = logits.shape
    probability = logits.float().softmax(-1)
    if temperature == 0:
        guess = logits.argmax(-1)
    else:
        tempered = (logits.float() / temperature).softmax(-1).view(B * T, V)
        guess = torch.multinomial(tempered, 1, generator=random).view(B, T)
    return guess, probability.gather(-1, guess[..., None]).squeeze(-1)


@torch.no_grad()
def ancestral(
    model: DiffusionLM, ids: Tensor, num_steps: int, random: torch.Generator, schedule: Schedule | None = None
) -> Tensor:
    """ids [B, T] with masks -> filled: from time t to s < t each mask is lifted with probability
    (alpha(s) - alpha(t)) / (1 - alpha(t)), independently; the last step lifts all that are left."""
    if num_steps < 1:
        raise UsageError("Generation needs a step.", f"num_steps = {num_steps}", "give at least 1")
    schedule, mask_id, ids = schedule or Schedule(), model.config.mask_id, ids.clone()
    grid = torch.linspace(1, 0, num_steps + 1, device=ids.device)
    for n in range(num_steps):
        now, then = schedule.alpha(grid[n]), schedule.alpha(grid[n + 1])
        chance = 1.0 if n == num_steps - 1 else float((then - now) / (1 - now))
        masked = ids == mask_id
        lifted = masked & (torch.rand(ids.shape, generator=random, device=ids.device) < chance)
        if bool(lifted.any()):
            ids = torch.where(lifted, guesses(model(ids), random, 1.0)[0], ids)
    return ids
