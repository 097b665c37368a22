"""The settings of a training run: one frozen record, nothing else. Torch-free."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from ownlm.errors import UsageError
from ownlm.runtime.files import sha256_json

_WITHOUT_EFFECT = ("checkpoint_seconds", "checkpoint_steps")  # when to save must not change what is computed
_SAME_MATH = ("precision", "compile", "threads")  # another rounding of the same computation


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a run is. Equal configs, batches and start weights give bit-equal losses on one machine.

    Raises UsageError with every contradiction at once.
    """

    num_steps: int
    """Optimizer steps of the whole run, those before a resume included."""
    learning_rate: float = 0.02
    """Peak rate of Muon, for the matrices inside the blocks."""
    embedding_learning_rate: float = 0.005
    """Peak rate of AdamW, for embeddings, output layer and norms."""
    schedule: Literal["wsd", "cosine"] = "wsd"
    """Shape of the rate over the steps, see schedules.py."""
    warmup_fraction: float = 0.02
    """Share of the steps in which the rates rise linearly from zero."""
    decay_fraction: float = 0.5
    """Share of the steps in which they fall to zero (wsd); cosine falls from the warm-up to the end."""
    weight_decay: float = 0.05
    """Decoupled decay of the matrices inside the blocks, per step times the rate; nothing else decays."""
    clip: float = 1.0
    """Largest global norm of the gradient; a larger one is scaled down to it."""
    micro_tokens: int = 2048
    """Tokens per forward and backward: the gradient of a step is summed over pieces that fit the caches."""
    seed: int = 0
    """Seed of torch's generator at the first step (the model itself draws nothing while training)."""
    checkpoint_seconds: float = 20.0
    """Seconds between checkpoints: the most that a crash costs."""
    checkpoint_steps: int | None = None
    """Also save every so many steps; None: by time alone."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products; weights and optimizer stay float32. auto: bfloat16 where the processor has it."""
    compile: bool = True
    """torch.compile every block; without a C++ compiler the run is eager and says so."""
    threads: int | None = None
    """Processor threads; None: every core this process may use."""

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise UsageError(
                "The training settings contradict themselves.",
                "; ".join(problems),
                "correct these settings, or leave them out: every one but num_steps has a default",
            )

    def digest(self) -> str:
        """SHA-256 over the settings that decide what is computed; a checkpoint of another digest is refused."""
        ignored = _WITHOUT_EFFECT + _SAME_MATH
        return sha256_json({k: v for k, v in dataclasses.asdict(self).items() if k not in ignored})


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What changed between two `asdict` configs: (settings that make another run, settings that only round anew)."""
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    told = {name: f"{name}: {old.get(name)!r} in the checkpoint, {new.get(name)!r} now" for name in names}
    other = [told[name] for name in names if name not in _WITHOUT_EFFECT + _SAME_MATH]
    return other, [told[name] for name in names if name in _SAME_MATH]


def _problems(c: TrainConfig) -> list[str]:
    problems = []
    for name in ("num_steps", "micro_tokens"):
        if getattr(c, name) < 1:
            problems.append(f"{name} = {getattr(c, name)} is below 1")
    for name in ("learning_rate", "embedding_learning_rate", "clip", "checkpoint_seconds"):
        if not getattr(c, name) > 0:
            problems.append(f"{name} = {getattr(c, name)} is not above 0")
    if c.warmup_fraction < 0 or c.decay_fraction < 0 or c.warmup_fraction + c.decay_fraction > 1:
        problems.append(
            f"warmup_fraction {c.warmup_fraction} and decay_fraction {c.decay_fraction} do not fit into one run"
        )
    if c.weight_decay < 0:
        problems.append(f"weight_decay = {c.weight_decay} is negative")
    if c.schedule not in ("wsd", "cosine"):
        problems.append(f"schedule = {c.schedule!r} is neither wsd nor cosine")
    if c.precision not in ("auto", "float32", "bfloat16"):
        problems.append(f"precision = {c.precision!r} is none of auto, float32, bfloat16")
    for name in ("checkpoint_steps", "threads"):
        if getattr(c, name) is not None and getattr(c, name) < 1:
            problems.append(f"{name} = {getattr(c, name)} is below 1")
    return problems
