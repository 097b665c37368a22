"""Which runs a ladder has: sizes times lengths, as far as the budget goes. Torch-free.

A size is a depth, from which the dial derives the rest ("4"), or layers x width ("2x48") where the dial's steps are
too coarse: its widths are multiples of 64.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ownlm.config import Settings
from ownlm.errors import UsageError
from ownlm.model import count
from ownlm.model.config import ModelConfig
from ownlm.model.presets import from_dial


class LadderSettings(Settings):
    """A whole ladder. Unknown keys are errors."""

    sizes: tuple[str, ...] = ("1", "2", "3", "4")
    """Depths ("4") or layers x width ("2x48")."""
    tokens: tuple[int, ...] = (500_000, 1_000_000, 2_000_000)
    """Tokens of a run, rounded down to whole steps. Every size gets every length that the budget allows."""
    per_parameter: tuple[float, ...] = ()
    """Lengths as multiples of the size's parameters, in place of `tokens` (20: compute-optimal by Chinchilla)."""
    budget: float | None = None
    """Largest 6 N D of one run, in operations; longer runs are left out and counted."""
    context: int = 128
    """Tokens of a window."""
    batch_tokens: int = 2048
    """Tokens of an optimizer step."""
    heldout_tokens: int = 65_536
    """Cut out of the text in even pieces, never trained on."""
    seed: int = 0
    """Of weights and batches: all runs read the same windows in the same order."""
    train: dict[str, object] = {}
    """Further settings of every run, as in train/config.py: optimizer, learning_rate, schedule, precision, ..."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One run that is to be made."""

    name: str
    model: ModelConfig
    num_steps: int
    tokens: int

    @property
    def parameters(self) -> int:
        return count.num_parameters(self.model)

    @property
    def non_embedding(self) -> int:
        copies = 1 if self.model.tie_embeddings else 2
        return self.parameters - copies * self.model.vocab_size * self.model.hidden_size

    @property
    def flops(self) -> float:
        return float(count.flops_per_token(self.model, self.model.max_positions)) * self.tokens


def shape(size: str, vocab_size: int, context: int) -> ModelConfig:
    """Raises UsageError for what is neither a depth nor layers x width."""
    if re.fullmatch(r"\d+", size):
        return from_dial(int(size), vocab_size, context)
    found = re.fullmatch(r"(\d+)x(\d+)", size)
    if not found or int(found[2]) % 16 or not int(found[1]):
        raise UsageError(
            "This is no size of a model.",
            repr(size),
            'give a depth such as "4", or layers x width such as "2x48", the width a multiple of 16',
        )
    layers, width = int(found[1]), int(found[2])
    heads = width // 16 if width < 128 else width // 32
    if width >= 128 and width % 32:
        heads = width // 16
    kv_heads = heads // 2 if heads % 2 == 0 else heads
    inner = -(-width * 8 // 3 // 16) * 16
    return ModelConfig(vocab_size=vocab_size, hidden_size=width, intermediate_size=inner, num_layers=layers,
                       num_heads=heads, num_kv_heads=kv_heads, head_dim=width // heads, max_positions=context)  # fmt: skip


def rungs(settings: LadderSettings, vocab_size: int) -> tuple[list[Rung], list[Rung]]:
    """(to run, left out for the budget), cheapest first: a ladder cut short still has its lower rungs.

    Raises UsageError when nothing is left, or a batch does not hold whole windows.
    """
    if settings.batch_tokens % settings.context:
        raise UsageError(
            "A batch must hold whole windows.",
            f"batch_tokens {settings.batch_tokens}, context {settings.context}",
            f"set batch_tokens to {max(1, settings.batch_tokens // settings.context) * settings.context}",
        )
    every = sorted({rung.name: rung for rung in _grid(settings, vocab_size)}.values(), key=lambda r: r.flops)
    budget = settings.budget or float("inf")
    fit = [rung for rung in every if 6.0 * rung.parameters * rung.tokens <= budget]
    if not fit:
        raise UsageError(
            "The ladder has no run.",
            f"{len(every)} runs asked for, all above the budget of {budget:g} operations or shorter than a step",
            "raise the budget, or give smaller sizes or shorter lengths",
        )
    return fit, [rung for rung in every if 6.0 * rung.parameters * rung.tokens > budget]


def _grid(settings: LadderSettings, vocab_size: int) -> Iterator[Rung]:
    for size in settings.sizes:
        model = shape(size, vocab_size, settings.context)
        lengths = settings.tokens
        if settings.per_parameter:
            lengths = tuple(int(ratio * count.num_parameters(model)) for ratio in settings.per_parameter)
        for tokens in lengths:
            steps = tokens // settings.batch_tokens
            if steps:
                whole = steps * settings.batch_tokens
                yield Rung(f"{size}-{whole}", model, steps, whole)
