"""One pretraining run, from its settings to OUT/model; stopped at any moment, the same call goes on.

OUT/plan.json       every number of the run with where it came from; a run that goes on keeps it
OUT/data/           tokenizer and shards, where the run began with text
OUT/run.json, metrics.jsonl, losses.jsonl, checkpoints/    the run while it goes (`ownlm runs watch OUT`)
OUT/model/          the trained model: Hugging Face folder, manifest, digests of what it was made from
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ownlm.config import flat
from ownlm.errors import UsageError
from ownlm.pipeline.pretraining import build, derive, inputs, measure
from ownlm.pipeline.pretraining.build import Learning
from ownlm.pipeline.pretraining.derive import Row
from ownlm.pipeline.pretraining.inputs import Inputs
from ownlm.pipeline.pretraining.settings import PretrainSettings, budget
from ownlm.runtime import artifact, files
from ownlm.train.batches import BatchAt
from ownlm.train.config import TrainConfig
from ownlm.train.parallel.dist import joined
from ownlm.train.parallel.launch import layout_from
from ownlm.train.parallel.layout import Layout

FREE = ("track", "train.checkpoint_seconds", "train.checkpoint_steps", "train.keep_checkpoints", "train.keep_every",
        "train.background_saves")  # fmt: skip
"""Settings that may change when a run goes on."""


@dataclass(slots=True)
class Run:
    """Everything a run consists of, ready to go."""

    settings: PretrainSettings
    origins: Mapping[str, str]
    folder: Path
    inputs: Inputs
    learning: Learning
    model: Any
    context: int
    batch_size: int  # windows of a step
    batch_at: BatchAt
    validation: BatchAt
    config: TrainConfig
    layout: Layout
    rows: list[Row]

    @property
    def numbers(self) -> dict[str, Any]:
        return {row.name: row.value for row in self.rows}


def prepared(
    settings: PretrainSettings, origins: Mapping[str, str], out: Path, notice: Callable[[str], None], began: float
) -> Run:  # fmt: skip
    """Read, derive, build. `began`: time.perf_counter() from which a budget of time counts. Raises UsageError for
    settings that are not enough, contradict each other, or are not those the run began with."""
    stored = _stored(settings, out)
    found = _together(lambda: inputs.gather(settings, out, notice))
    learning = build.learning(settings, found)
    made = derive.shape(settings, found, learning.vocab_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = learning.model(made.config, settings.seed).to(device)
    given = {key: value for key, value in settings.train.model_dump().items() if value is not None}
    numbers = {row["name"]: row["value"] for row in stored or ()}
    speed = (
        50e9 / made.flops_per_token
    )  # tokens per second, roughly: only the size of the batch depends on it
    batch = (
        Row("batch_tokens", numbers["batch_tokens"], "")
        if stored
        else derive.batch_tokens(settings, made, found, speed)
    )
    rows_of_batch = batch.value // made.context
    batch_at = learning.batches(found.train, made.context, rows_of_batch, settings.seed)
    if stored is None:
        seconds, left = 0.0, 0.0
        if (wanted := budget(settings.budget)).unit == "seconds":
            if settings.layout != "alone":
                raise UsageError("A budget of time is for one process.", f"layout {settings.layout}, budget {settings.budget}",
                                 "give the budget in steps or tokens")  # fmt: skip
            short = {
                key: value for key, value in given.items() if key != "warmup_steps"
            }  # may be longer than it
            trial = TrainConfig(num_steps=measure.CALIBRATION_STEPS, seed=settings.seed, **short)
            seconds = measure.step_seconds(model, batch_at, trial, learning.objective, notice)
            measuring = derive.EAGER * found.validation.num_tokens / batch.value * seconds  # at the end
            left = (wanted.amount - (time.perf_counter() - began) - measuring) / (1 + derive.LOOKING)
        steps = derive.steps(settings, made, found, batch.value, left, seconds)
        rows = _rows(settings, origins, made, found, batch, steps)
    else:
        rows = [Row(**row) for row in stored]
        steps = next(row for row in rows if row.name == "num_steps")
    config = TrainConfig(num_steps=steps.value, seed=settings.seed, **given)
    layout = layout_from(settings.layout, model, config, notice, build.sizes(settings.sizes))
    if stored is None and layout.rank == 0:
        files.write_json(
            out / "plan.json", {"asked": _asked(settings), "rows": [asdict(row) for row in rows]}
        )
    validation = learning.batches(found.validation, made.context, rows_of_batch, 0)
    return Run(settings, origins, out, found, learning, model, made.context, rows_of_batch, batch_at, validation, config,
               layout, rows)  # fmt: skip


def place(settings: PretrainSettings) -> AbstractContextManager[Any]:
    """The process group of a layout of several processes; nothing for one."""
    return nullcontext() if settings.layout == "alone" else joined()


def _together(work: Callable[[], Inputs]) -> Inputs:
    """Process 0 first, so that files are made once."""
    if not dist.is_initialized():
        return work()
    found = work() if dist.get_rank() == 0 else None
    dist.barrier()
    return found or work()


def _asked(settings: PretrainSettings) -> dict[str, Any]:
    return {key: value for key, value in flat(settings).items() if key not in FREE}


def _stored(settings: PretrainSettings, out: Path) -> list[dict[str, Any]] | None:
    """The numbers that the run in this folder began with."""
    path = out / "plan.json"
    if not path.is_file():
        return None
    stored, asked = files.read_json(path), _asked(settings)
    if stored["asked"] != asked:
        changed = [f"{key}: {stored['asked'].get(key)!r} then, {value!r} now" for key, value in asked.items()
                   if stored["asked"].get(key) != value]  # fmt: skip
        raise UsageError("This folder holds another run.", "; ".join(changed),
                         "give another --out, or the settings it began with")  # fmt: skip
    rows: list[dict[str, Any]] = stored["rows"]
    return rows


def _rows(
    settings: PretrainSettings,
    origins: Mapping[str, str],
    made: derive.Shape,
    found: Inputs,
    batch: Row,
    steps: Row,
) -> list[Row]:
    defaults = TrainConfig(num_steps=steps.value)
    chosen = {
        key: value for key, value in settings.train.model_dump(mode="json").items() if value is not None
    }
    tokens = steps.value * batch.value
    rows = [
        Row("train_tokens", found.train.num_tokens, "data"),
        Row("validation_tokens", found.validation.num_tokens, "data"),
        Row("vocab_size", made.config.vocab_size, "data, and what the objective adds"),
        Row("objective", settings.objective, origins.get("objective", "default")),
        *made.rows,
        Row("parameters", made.parameters, "model/count.py"),
        Row("flops_per_token", made.flops_per_token, "model/count.py"),
        batch,
        steps,
        Row("tokens", tokens, "num_steps * batch_tokens"),
        Row("epochs", round(tokens / found.train.num_tokens, 3), "tokens / train_tokens"),
        Row("flops", tokens * made.flops_per_token, "tokens * flops_per_token"),
    ]
    for field in dataclasses.fields(TrainConfig):
        if field.name not in ("num_steps", "seed"):
            value = chosen.get(field.name, getattr(defaults, field.name))
            rows.append(Row(f"train.{field.name}", value, origins.get(f"train.{field.name}", "default")))
    return rows


def locked(settings: PretrainSettings, out: Path) -> AbstractContextManager[Any]:
    """One process group per folder."""
    first = not dist.is_initialized() or dist.get_rank() == 0
    return artifact.exclusive(out, ".lock") if first else nullcontext()
