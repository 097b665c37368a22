"""`pretrain(...)`: prepare a run, train it with a look at held-out text now and then, keep its model."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ownlm.config import flat
from ownlm.errors import UsageError
from ownlm.model.adapters import hf
from ownlm.model.decoder import Decoder
from ownlm.pipeline.pretraining import derive, measure
from ownlm.pipeline.pretraining.run import Run, locked, place, prepared
from ownlm.pipeline.pretraining.settings import PretrainSettings
from ownlm.pipeline.training import measure as bits_of
from ownlm.records import StepRecord
from ownlm.runtime import artifact, files
from ownlm.runtime.artifact import Stage
from ownlm.runtime.progress import Progress
from ownlm.train import averaging, loop
from ownlm.train.parallel.layout import Alone
from ownlm.train.tracking.log import RunLog


def pretrain(
    settings: PretrainSettings,
    origins: Mapping[str, str],
    out: Path,
    notice: Callable[[str], None],
    began: float | None = None,
) -> dict[str, Any]:
    """Train; returns the metrics of OUT/model ({} on processes other than the first). `began`: time.perf_counter() from
    which a budget of time counts; None: now. Raises UsageError for settings that are not enough or not those the run
    began with, and what reading, training and saving raise."""
    began = time.perf_counter() if began is None else began
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as group:
        group.enter_context(place(settings))
        with locked(settings, out):
            run = prepared(settings, origins, out, notice, began)
            if run.layout.rank:
                os.environ["OWNLM_QUIET"] = "1"
                _train(run, None, lambda text: None)
                return {}
            for row in run.rows:
                notice(f"{row.name:<32} {row.value!s:<14} {row.source}")
            facts = flat(settings), run.origins, run.inputs.versions, settings.track, notice
            with RunLog(out, run.config, *facts) as log:
                last = _train(run, log, log.notice)
                group.close()  # what follows takes longer than the other processes would wait
                metrics = _finish(run, log, last)
                log.finish()
            return metrics


def _train(run: Run, log: RunLog | None, notice: Callable[[str], None]) -> StepRecord | None:
    """Every process trains and measures (a sharded model needs all of them); the first one writes."""
    settings, num_steps = run.settings, run.config.num_steps
    look_every = settings.evaluate_steps or min(1000, max(1, math.ceil(num_steps / derive.LOOKS)))
    full_every = settings.benchmark_steps or 5000
    batch_tokens = run.batch_size * run.context
    looked = settings.evaluate_tokens or min(
        derive.MOST_LOOKED, int(num_steps * batch_tokens * derive.LOOK_SHARE)
    )
    looks = max(1, looked // batch_tokens)
    last = None
    objective = run.learning.objective
    if run.layout.pipeline is not None:
        notice("held-out text is measured at the end: no process of a pipeline has the whole model")
    with Progress("pretrain", total=num_steps, unit="steps") as progress:
        for last in loop.train(
            run.model, run.batch_at, run.config, run.folder, notice, objective, run.layout
        ):
            if progress.count == 0 and last.step > 1:
                progress.start_at(last.step - 1)
            if log is not None:
                log.step(last)
            if run.layout.pipeline is None and last.step < num_steps:
                if last.step % look_every == 0:
                    loss = measure.heldout_loss(
                        run.model, run.validation, looks, objective, run.config, run.layout
                    )
                    progress.facts["validation"] = loss
                    if log is not None:
                        log.validation(last.step, loss=loss)
                if last.step % full_every == 0 and log is not None and run.layout.num_processes == 1:
                    _benchmark(run, log, last.step)
            if log is not None:
                progress.update(
                    1, loss=last.loss, **{"tok/s": round(last.tokens_per_second), "mfu": last.mfu}
                )
    return last


def _benchmark(run: Run, log: RunLog, step: int) -> dict[str, float]:
    """All held-out text; of a causal decoder also bits per byte with their interval, and a sample."""
    batches = max(1, (run.inputs.validation.num_tokens - run.context) // run.context // run.batch_size)
    found = {
        "loss": measure.heldout_loss(
            run.model, run.validation, batches, run.learning.objective, run.config, Alone()
        )
    }
    if isinstance(run.model, Decoder) and run.learning.vocab_size == run.inputs.tokenizer.vocab_size:
        heldout = run.inputs.validation
        found["bits_per_byte"] = found["loss"] / math.log(2) / run.inputs.bytes_per_token
        # Every token with at least half a context before it, and an interval over documents, where it costs little.
        if heldout.num_documents > 1 and heldout.num_tokens <= run.numbers["tokens"] / 20:
            bits = bits_of(run.model, heldout, run.context)
            found |= {
                "bits_per_byte": bits.bits_per_byte,
                "bits_per_byte_low": bits.low,
                "bits_per_byte_high": bits.high,
            }
        start = [run.inputs.tokenizer.special_id("<|bos|>")]
        written = run.inputs.tokenizer.decode(measure.sample(run.model, start, 200, seed=step))
        files.write_atomic(run.folder / "samples" / f"step-{step:06d}.txt", written + "\n")
    log.benchmark(step, **found)
    return found


def _finish(run: Run, log: RunLog, last: StepRecord | None) -> dict[str, Any]:
    """The model's folder, from the last checkpoint or the mean of the last ones."""
    (run.folder / "samples").mkdir(exist_ok=True)
    folder = run.folder / "checkpoints"
    if run.settings.average > 1 or run.layout.num_processes > 1:
        saved = sorted(folder.glob("step-*[0-9]"), key=lambda path: int(path.name[5:]))
        paths = [path for path in saved if int(path.name[5:])][
            -run.settings.average :
        ]  # step 0 has learned nothing
        if len(paths) < run.settings.average:
            raise UsageError("There are too few checkpoints to average.", f"{len(paths)} kept, {run.settings.average} wanted",
                             f"set train.keep_checkpoints={run.settings.average} or more, and train.checkpoint_steps")  # fmt: skip
        model = run.learning.model(run.model.config, run.settings.seed)
        state = dict(averaging.averaged(paths))
        model.load_state_dict(state)
        run.model = model
    metrics: dict[str, Any] = _benchmark(run, log, run.config.num_steps)
    metrics["validation_loss"] = metrics.pop("loss")
    metrics |= {name: run.numbers[name] for name in ("parameters", "tokens", "num_steps", "epochs")}
    if last is not None:
        metrics |= {"loss": last.loss, "tokens_per_second": last.tokens_per_second, "mfu": last.mfu}

    def work(stage: Stage) -> None:
        _save(run, stage.folder)
        stage.metrics.update(metrics)
        stage.licences.update({} if run.inputs.manifest is None else run.inputs.manifest.licences)

    config = {"settings": run.settings.model_dump(mode="json"), "plan": run.numbers, "versions": run.inputs.versions,
              "specials": {role: list(ids) for role, ids in run.learning.specials.ids.items()}}  # fmt: skip
    made_from = {} if run.inputs.manifest is None else {"shards": run.inputs.manifest}
    manifest, _ = artifact.run(run.folder, "model", "model", made_from, config, work, log.notice)
    return dict(manifest.metrics)


def _save(run: Run, folder: Path) -> None:
    tokenizer = run.inputs.tokenizer
    try:
        hf.family_of(run.model.config)
    except (
        UsageError,
        AttributeError,
    ):  # a form of our own: weights and tokenizer, the shape is in the manifest
        save_file(
            {name: value.contiguous() for name, value in run.model.state_dict().items()},
            folder / "model.safetensors",
        )
        shutil.copytree(run.inputs.tokenizer_folder, folder / "tokenizer")
        return
    hf.save(run.model, folder, tokenizer_folder=run.inputs.tokenizer_folder,
            eos_ids=(tokenizer.special_id("<|end|>"), tokenizer.special_id("<|bos|>")),
            bos_id=tokenizer.special_id("<|bos|>"), pad_id=tokenizer.special_id("<|pad|>"))  # fmt: skip
