"""From data, size and budget to every number of a run, each with the rule it came from.

size     -> layers, widths           the dial of model/presets.py, at the depth whose count comes nearest
context  -> 256 characters or bytes; 512 tokens, 1,024 from 60 M parameters, 2,048 from 300 M
batch    -> 0.1 C^0.327 tokens       C training operations; the exponent is DeepSeek-AI's (2024, arXiv:2401.02954,
                                     equation 1), the factor a third of theirs: at 2.4 M parameters 600,000 tokens in
                                     batches of 2,048 ended .11 nats below batches of 4,096. A power of two of windows,
                                     at least 4 and at most a twentieth of the text
budget   -> steps                    for a time: measured on the first steps, see run.py
rates    -> what each optimizer is published with (train/optimizers/table.py)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import UsageError
from ownlm.model import presets
from ownlm.model.adapters import hf
from ownlm.model.count import flops_per_token, num_parameters
from ownlm.pipeline.pretraining.inputs import Inputs
from ownlm.pipeline.pretraining.settings import PretrainSettings, budget, count
from ownlm.runtime.files import read_json

MAX_DEPTH = 64
LOOKS = 10  # at held-out text in a short run
LOOK_SHARE = 1 / 200  # of the run's tokens, each
MOST_LOOKED = 32768  # tokens
EAGER = 1.0  # time of a held-out token beside a trained one: forward only, but not compiled
LOOKING = LOOKS * LOOK_SHARE * EAGER + 0.03  # time beside the training's own, with the writing of checkpoints


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a run: its value, and where it comes from."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What is built: one of ours by the dial, or an architecture read from a config.json."""

    config: Any
    parameters: int
    flops_per_token: int
    context: int
    rows: tuple[Row, ...]


def shape(settings: PretrainSettings, inputs: Inputs, vocab: int) -> Shape:
    """vocab: of the model, the objective's own tokens included. Raises UsageError for a size that is none."""
    wanted, depth = count(settings.size), _depth(settings.size)
    given = None if wanted or depth else _config_file(settings.size)
    if given is not None:
        raw = read_json(given)
        _, config = hf.read_config(raw, str(given))
        context = settings.context or min(1024, config.max_positions)
        named: tuple[Row, ...] = (Row("architecture", raw.get("model_type", "?"), f"size = {settings.size}"),)
        parameters, flops = config.num_parameters(), config.flops_per_token(context)
        if config.vocab_size < vocab:
            raise UsageError("The model knows fewer tokens than the text has.", f"{config.vocab_size} < {vocab}",
                             "give another config, or the tokenizer that belongs to it")  # fmt: skip
        return Shape(config, parameters, flops, context, (*named, Row("context", context, _given(settings.context, "max_positions, at most 1024"))))  # fmt: skip
    small = inputs.bytes_per_token < 1.5
    by_size = (
        256
        if small
        else next(c for n, c in ((60e6, 512), (300e6, 1024), (math.inf, 2048)) if (wanted or 0) < n)
    )
    context = settings.context or by_size
    if wanted:
        depth = min(range(1, MAX_DEPTH + 1), key=lambda d: abs(math.log(num_parameters(presets.from_dial(d, vocab, context)) / wanted)))  # fmt: skip
    if not depth:
        raise UsageError("A run needs a size." if not settings.size else "This is no size.", repr(settings.size),
                         "write size=10M, size='depth 8', or the path of a config.json")  # fmt: skip
    config = presets.from_dial(depth, vocab, context)
    rows = (
        Row("depth", depth, "nearest to " + settings.size if wanted else "size"),
        Row("hidden_size", config.hidden_size, "model/presets.py"),
        Row("context", context, _given(settings.context, "256 for characters; else by size")),
    )
    return Shape(config, num_parameters(config), flops_per_token(config, context), context, rows)


def batch_tokens(settings: PretrainSettings, made: Shape, inputs: Inputs, speed: float) -> Row:
    """speed: tokens per second to expect, for a budget of time."""
    if settings.batch_tokens is not None:
        if settings.batch_tokens % made.context:
            near = max(1, round(settings.batch_tokens / made.context)) * made.context
            raise UsageError("A batch must hold whole windows.", f"batch_tokens {settings.batch_tokens}, context {made.context}",
                             f"set batch_tokens={near}")  # fmt: skip
        return Row("batch_tokens", settings.batch_tokens, "given")
    flops = _tokens(settings, made, inputs, speed) * made.flops_per_token
    wanted = 0.1 * flops**0.3271
    most = max(4 * made.context, inputs.train.num_tokens // 20)
    windows = 2 ** round(math.log2(max(4, min(wanted, most) / made.context)))
    return Row(
        "batch_tokens",
        windows * made.context,
        f"0.1 C^0.327 at C = {flops:.2g}, as windows of {made.context}",
    )


def _tokens(settings: PretrainSettings, made: Shape, inputs: Inputs, speed: float) -> float:
    """Tokens of the whole run, roughly where the batch is not known yet."""
    wanted = budget(settings.budget)
    return {
        "seconds": wanted.amount * speed,
        "steps": wanted.amount * 8192,
        "tokens": wanted.amount,
        "epochs": wanted.amount * inputs.train.num_tokens,
        "flops": wanted.amount / made.flops_per_token,
    }[wanted.unit]


def steps(settings: PretrainSettings, made: Shape, inputs: Inputs, batch: int, seconds_left: float, step_seconds: float) -> Row:  # fmt: skip
    """seconds_left and step_seconds: measured; only a budget of time uses them."""
    wanted = budget(settings.budget)
    found = {
        "seconds": seconds_left / step_seconds if step_seconds else 0.0,
        "steps": wanted.amount,
        "tokens": wanted.amount / batch,
        "epochs": wanted.amount * inputs.train.num_tokens / batch,
        "flops": wanted.amount / made.flops_per_token / batch,
    }[wanted.unit]
    source = f"budget {settings.budget}"
    if wanted.unit == "seconds":
        source += f": {seconds_left:.0f} s left at {step_seconds:.3f} s a step (measured)"
    if found < 1:
        raise UsageError("The budget does not reach for one step.", f"{settings.budget}: {found:.2f} steps of {batch:,} tokens",
                         "give more, or a smaller size or batch_tokens")  # fmt: skip
    return Row("num_steps", int(found), source)


def _depth(text: str) -> int | None:
    words = text.strip().lower().split()
    return int(words[1]) if len(words) == 2 and words[0] == "depth" and words[1].isdigit() else None


def _config_file(text: str) -> Path | None:
    path = Path(text) if text else None
    if path is not None and path.is_dir():
        path = path / "config.json"
    return path if path is not None and path.is_file() else None


def _given(value: object, rule: str) -> str:
    return rule if value is None else "given"
