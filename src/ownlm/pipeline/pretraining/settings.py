"""What a pretraining run is asked for. Data, size and budget are needed; everything else has a rule (derive.py)."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import Field, create_model

from ownlm.config import Settings
from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig


def _optional_settings(kind: type, name: str, left_out: tuple[str, ...]) -> type[Settings]:
    """A Settings class with the fields of a dataclass and their explanations; None: derived, or the field's default."""
    source = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(source, ast.ClassDef)
    told: dict[str, str] = {}
    for field, after in zip(source.body, source.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            told[ast.unparse(field.target)] = inspect.cleandoc(str(after.value.value))
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {
        field.name: (hints[field.name] | None, Field(None, description=told.get(field.name, "")))
        for field in dataclasses.fields(kind)
        if field.name not in left_out
    }
    return create_model(name, __base__=Settings, **fields)


if TYPE_CHECKING:

    class TrainSettings(Settings): ...

else:
    TrainSettings = _optional_settings(TrainConfig, "TrainSettings", ("num_steps", "seed"))


class PretrainSettings(Settings):
    data: Path | None = None
    """Token shards (`ownlm data shards`, or the prefix of one), or text: a file or a folder."""
    validation: Path | None = None
    """Shards or text to measure on; none: the shards' held-out part, or the last `validation_fraction`."""
    validation_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share at the end of the text that is never trained on, where nothing else is held out."""
    tokenizer: str | None = None
    """Folder of a tokenizer, or what to learn from the text: characters, bytes or bpe."""
    vocab_size: int | None = Field(None, ge=16)
    """Tokens of a tokenizer that is learned."""
    size: str = ""
    """Parameters (10M), layers (depth 8), or a folder or file with a config.json."""
    budget: str = ""
    """When it is enough: 10 min, 2 h, 5000 steps, 200M tokens, 3 epochs or 1e16 flops."""
    context: int | None = Field(None, ge=8)
    """Tokens of a window."""
    batch_tokens: int | None = Field(None, ge=8)
    """Tokens of an optimizer step, over all processes."""
    objective: str = "causal"
    """What the model learns: causal, causal_documents, prefix, fim, multi_token, mlm, mlm+nsp, spans, ul2, bart, diffusion."""
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    """Share of the target that is spread over the whole vocabulary (of causal objectives)."""
    z_loss: float | None = Field(None, ge=0)
    """Weight of the squared log of the softmax's sum (of causal objectives)."""
    layout: str = "alone"
    """How several processes share the work (train/parallel/launch.py); start them with torchrun."""
    sizes: str = ""
    """Processes along each dimension of a composed layout, e.g. dp=2,tp=2."""
    seed: int = Field(0, ge=0)
    """Of the weights, the order of the data and everything drawn."""
    evaluate_steps: int | None = Field(None, ge=1)
    """Steps between looks at held-out text; none: 1000, or a tenth of a shorter run."""
    benchmark_steps: int | None = Field(None, ge=1)
    """Steps between whole measurements with interval and samples; none: 5000, and once at the end."""
    evaluate_tokens: int | None = Field(None, ge=1)
    """Held-out tokens of a look, in whole batches; none: a two-hundredth of the run's tokens, at most 32,768."""
    average: int = Field(1, ge=1)
    """The model is the mean of this many last checkpoints."""
    track: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Trackers that get the metrics beside metrics.jsonl."""
    train: TrainSettings = TrainSettings()
    """The settings of the loop."""


Unit = Literal["seconds", "steps", "tokens", "epochs", "flops"]


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount and what it counts: seconds, steps, tokens, epochs or flops."""

    amount: float
    unit: Unit


_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_TIMES = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "day": 86400,
    "d": 86400,
}
_COUNTS: dict[str, Unit] = {"step": "steps", "token": "tokens", "epoch": "epochs", "flop": "flops"}
_NUMBER = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)(?:\s+([a-z]+))?")


def budget(text: str) -> Budget:
    """Raises UsageError for what is no budget."""
    match = _NUMBER.fullmatch(text.strip().lower().replace(",", "").replace("_", ""))
    if match:
        number, first, second = match.groups()
        word = second or first
        word = word if word in _TIMES else word.rstrip("s")
        scale = _SCALES.get(first if second else "", 0.0)
        try:
            amount = float(number) * scale
        except ValueError:
            amount = 0.0
        if amount > 0 and word in _TIMES and not second:
            return Budget(amount * _TIMES[word], "seconds")
        if amount > 0 and word in _COUNTS:
            return Budget(amount, _COUNTS[word])
    raise UsageError(
        "A run needs a budget." if not text else "This is no budget.", repr(text),
        "write budget='10 min', '5000 steps', '200M tokens', '3 epochs' or '1e16 flops'",
    )  # fmt: skip


def count(text: str) -> float | None:
    """10M, 125m, 1.3B, 4e6 as a number; None for anything else."""
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([kmbgt]?)", text.strip().lower().replace("_", ""))
    try:
        return float(match[1]) * _SCALES[match[2]] if match else None
    except ValueError:
        return None
