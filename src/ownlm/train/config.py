"""The settings of a training run: one frozen record, nothing else. Torch-free."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ownlm.errors import UsageError
from ownlm.runtime.files import sha256_json

_WITHOUT_EFFECT = (
    "gradient_steps",
    "checkpoint_seconds",
    "checkpoint_steps",
    "keep_checkpoints",
    "keep_every",
    "background_saves",
)  # when to save must not change what is computed
_SAME_MATH = ("precision", "compile", "threads", "recompute")  # another rounding of the same computation


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What a run is. Equal configs, batches and start weights give bit-equal losses on one machine.

    Raises UsageError with every contradiction at once.
    """

    num_steps: int
    """Optimizer steps of the whole run, those before a resume included."""
    optimizer: str = "muon"
    """Of the matrices inside the blocks: a name of optimizers/table.py."""
    embedding_optimizer: str = "adamw"
    """Of embeddings, output layer, norms and biases."""
    learning_rate: float | None = None
    """Peak rate of `optimizer`; None: the one it is published with (table.py)."""
    embedding_learning_rate: float | None = None
    """Peak rate of `embedding_optimizer`; None: 0.005 beside Muon, else as `learning_rate`."""
    base_width: int | None = None
    """muP: the width that `learning_rate` was found at; rates of wider matrices fall with it (ladder/mup.py). None: one
    rate for every width."""
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the optimizer's constructor, such as betas; both optimizers get them where both are of one kind."""
    schedule: Literal["wsd", "cosine", "linear", "constant", "restarts"] = "wsd"
    """Shape of the rate over the steps, see schedules.py."""
    warmup_fraction: float = 0.02
    """Share of the steps in which the rates rise linearly from zero."""
    warmup_steps: int | None = None
    """The same as a number of steps, which then wins."""
    decay_fraction: float = 0.5
    """Share of the steps in which they fall (wsd); the other shapes fall from the warm-up to the end."""
    final_fraction: float | None = None
    """Share of the peak at the end; None: 0.1 for cosine and restarts, 0 for the others."""
    restarts: int = 1
    """Cycles of `restarts`, of equal length."""
    weight_decay: float | None = None
    """Decoupled decay, per step times the rate; None: 0.05 for Muon, with nothing else decayed; elsewhere as the
    optimizer has it."""
    clip: float | None = 1.0
    """Largest global norm of the gradient; a larger one is scaled down to it. None: any."""
    clip_value: float | None = None
    """Largest absolute value of one entry of the gradient, cut before the norm is taken."""
    micro_tokens: int = 2048
    """Tokens per forward and backward: the gradient of a step is summed over pieces that fit the caches."""
    seed: int = 0
    """Seed of torch's generator at the first step (the model itself draws nothing while training)."""
    on_spike: Literal["recover", "stop", "ignore"] = "recover"
    """A loss or gradient out of all proportion: pass the batch over and roll back if it stays (health/spikes.py), end
    the run with an error, or train on it. What is not finite is never trained on."""
    gradient_steps: int | None = None
    """Every so many steps the norm of each layer's gradient goes into gradients.jsonl; None: never."""
    checkpoint_seconds: float = 20.0
    """Seconds between checkpoints: the most that a crash costs."""
    checkpoint_steps: int | None = None
    """Also save every so many steps; None: by time alone."""
    keep_checkpoints: int = 2
    """The newest so many stay."""
    keep_every: int | None = None
    """Checkpoints of steps divisible by this stay for good."""
    background_saves: bool = True
    """Write while the next steps run: the weights are copied first, which is all that the loop waits for."""
    precision: Literal["auto", "float32", "bfloat16", "float16", "float8"] = "auto"
    """Of the matrix products; weights and optimizer stay float32. auto: bfloat16 where the processor has it."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the model holds 16 bits a weight, the optimizer works on a float32 copy (master_weights.py)."""
    recompute: Literal["none", "blocks", "attention"] = "none"
    """Activations that are thrown away and computed again in the backward: of whole blocks, or of attention alone."""
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
    for name in ("num_steps", "micro_tokens", "restarts", "keep_checkpoints", "checkpoint_steps", "keep_every", "threads", "gradient_steps"):  # fmt: skip
        value = getattr(c, name)
        if value is not None and value < 1:
            problems.append(f"{name} = {value} is below 1")
    for name in ("learning_rate", "embedding_learning_rate", "clip", "clip_value", "checkpoint_seconds"):
        value = getattr(c, name)
        if value is not None and not 0 < value < math.inf:
            problems.append(f"{name} = {value} is not above 0 and finite")
    decay = c.decay_fraction if c.schedule == "wsd" else 0.0
    if c.warmup_fraction < 0 or c.decay_fraction < 0 or c.warmup_fraction + decay > 1:
        problems.append(
            f"warmup_fraction {c.warmup_fraction} and decay_fraction {c.decay_fraction} do not fit into one run"
        )
    if c.warmup_steps is not None and not 0 <= c.warmup_steps <= c.num_steps:
        problems.append(f"warmup_steps = {c.warmup_steps} is not within the {c.num_steps} steps")
    if c.final_fraction is not None and not 0 <= c.final_fraction <= 1:
        problems.append(f"final_fraction = {c.final_fraction} is not in [0, 1]")
    if c.weights == "bfloat16" and c.precision not in ("auto", "bfloat16"):
        problems.append(f"weights = bfloat16 cannot be multiplied in precision = {c.precision}")
    if c.weight_decay is not None and c.weight_decay < 0:
        problems.append(f"weight_decay = {c.weight_decay} is negative")
    for name, kind in get_type_hints(TrainConfig).items():
        if get_origin(kind) is Literal and getattr(c, name) not in get_args(kind):
            problems.append(f"{name} = {getattr(c, name)!r} is none of {', '.join(get_args(kind))}")
    return problems
