"""Run a ladder: every rung one training run in a folder of its own; what is done is skipped.

    FOLDER/ladder.json                    the settings
    FOLDER/runs/NAME/losses.jsonl         every step
    FOLDER/runs/NAME/result.json          written last: the run is done (its checkpoints are then removed)
    FOLDER/results.jsonl                  all finished runs

Killed at any moment, the same call goes on, inside a run too: from its newest checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.decoder import Decoder
from ownlm.runtime.files import sha256_json
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.ladder.result import RESULTS, LadderRun, read_result, write_result, write_results
from ownlm.train.ladder.rungs import LadderSettings, Rung
from ownlm.train.ladder.text import LadderText, heldout_loss
from ownlm.train.loop import to_stderr, train


def climb(
    plan: list[Rung],
    settings: LadderSettings,
    text: LadderText,
    folder: Path,
    notice: Callable[[str], None] = to_stderr,
    device: str = "cpu",
    step_seen: Callable[[Rung, int], None] = lambda rung, step: None,
) -> Iterator[tuple[LadderRun, bool]]:
    """Yield (result, whether it was run just now) for every rung of `plan`, in its order.

    results.jsonl is rewritten after each. `step_seen(rung, finished steps)` is called after every step, for a display.
    Raises ArtifactError where a finished run was made with other settings or text.
    """
    finished: dict[str, LadderRun] = {}
    for rung in plan:
        home, digest = folder / "runs" / rung.name, digest_of(rung, settings, text)
        done = read_result(home)
        if done is not None and done.digest != digest:
            raise ArtifactError(
                "This run of the ladder was made with other settings or another text.",
                str(home),
                "choose another folder with --out, or remove that one",
            )
        new = done is None
        if done is None:
            done = replace(run_rung(rung, settings, text, home, notice, device, step_seen), digest=digest)
            write_result(home, done)
            shutil.rmtree(home / "checkpoints", ignore_errors=True)
        finished[rung.name] = done
        write_results(folder / RESULTS, finished.values())
        yield done, new


def run_rung(rung: Rung, settings: LadderSettings, text: LadderText, home: Path, notice: Callable[[str], None],
             device: str, step_seen: Callable[[Rung, int], None]) -> LadderRun:  # fmt: skip
    """Train one model and measure it on the held-out text. Its digest is left empty."""
    model = Decoder(rung.model, settings.seed).to(device)
    rows = settings.batch_tokens // settings.context
    batches = ShardBatches(text.train, settings.context, rows, settings.seed)
    losses: list[float] = []
    seconds = 0.0
    for record in train(model, batches, train_config(rung, settings), home, notice):
        losses.append(record.loss)
        seconds += record.seconds
        step_seen(rung, record.step)
    if len(losses) < rung.num_steps:  # resumed: the time before counts at the speed seen since
        seconds *= rung.num_steps / max(1, len(losses))
    loss, stderr = heldout_loss(model, text.heldout, settings.context)
    tail = losses[-max(1, rung.num_steps // 10) :] or [loss]
    return LadderRun(
        name=rung.name, parameters=rung.parameters, non_embedding=rung.non_embedding, tokens=rung.tokens,
        unique_tokens=len(text.train), loss=loss, loss_stderr=stderr, flops=rung.flops, seconds=seconds,
        num_layers=rung.model.num_layers, hidden_size=rung.model.hidden_size, num_steps=rung.num_steps,
        train_loss=sum(tail) / len(tail),
    )  # fmt: skip


def train_config(rung: Rung, settings: LadderSettings) -> TrainConfig:
    """Raises UsageError for a key under `train` that is no setting of a run."""
    given: dict[str, Any] = {
        "compile": False, "checkpoint_seconds": 60.0, "micro_tokens": settings.batch_tokens,
        "seed": settings.seed, **settings.train, "num_steps": rung.num_steps,
    }  # fmt: skip
    try:
        return TrainConfig(**given)
    except TypeError as error:
        raise UsageError(
            "A setting under `train` is not known.", str(error), "see ownlm.train.config.TrainConfig"
        ) from error


def digest_of(rung: Rung, settings: LadderSettings, text: LadderText) -> str:
    """Of all that decides the result: shape, length, settings of the training, text."""
    numbers = [int(part.astype("uint64").sum()) for part in (text.train, text.heldout)]
    shape = [repr(rung.model), rung.num_steps, settings.context, settings.batch_tokens, settings.seed]
    return sha256_json([*shape, train_config(rung, settings).digest(), len(text.train), len(text.heldout), *numbers])  # fmt: skip


def remaining_seconds(plan: list[Rung], done: list[LadderRun]) -> float | None:
    """Time for the rest at the operations per second of the runs done so far; None before the first.

    Small models are slower per operation than large ones, so the estimate starts high.
    """
    spent, seconds = sum(run.flops for run in done), sum(run.seconds for run in done)
    left = sum(rung.flops for rung in plan) - spent
    return None if not spent else max(0.0, left) * seconds / spent


def threads_of(settings: LadderSettings) -> int:
    """Processor threads that the runs will use."""
    wanted = settings.train.get("threads")
    return wanted if isinstance(wanted, int) else torch.get_num_threads()
