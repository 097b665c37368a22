"""Results on disk in the layout of lm-evaluation-harness 0.4.13: what reads its files reads ours.

    results_<date>.json           one object: results, configs, versions, n-shot, higher_is_better, n-samples, ...
    samples_<task>_<date>.jsonl   one line per question, with doc, target, arguments, resps, filtered_resps, metrics

Metric keys are `name,filter` and `name_stderr,filter`; our only filter is "none". What the layout has no place for
(intervals, baselines) stands under the one extra key "ownlm".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ownlm.evals.baselines import Baseline
from ownlm.evals.bits import Bits
from ownlm.evals.grounded import HIGHER_IS_BETTER, summary
from ownlm.evals.intervals import Interval
from ownlm.records import Score
from ownlm.runtime.files import write_atomic, write_json

VERSION = 1  # of our tasks; raise it when a grading rule changes, so that scores are not compared across


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task: its metrics with intervals, and the graded samples behind them (none for bits per byte)."""

    name: str
    metrics: Mapping[str, Interval]
    higher_is_better: Mapping[str, bool]
    config: Mapping[str, Any]
    scores: Sequence[Score] = ()
    kinds: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    num_samples: int = 0  # documents or questions; taken from `scores` when there are some


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a score depends on besides the task: everything that must agree before two are compared."""

    model_name: str
    model_digest: str = ""
    num_parameters: int | None = None
    dtype: str = "float32"
    chat_template: str | None = None
    max_length: int | None = None
    bos: tuple[str, int] | None = None
    eos: tuple[str, int] | None = None
    pad: tuple[str, int] | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    git_hash: str | None = None
    seed: int = 0
    seconds: float = 0.0


def grounded_tasks(scores: Sequence[Score], config: Mapping[str, Any]) -> list[TaskResult]:
    """The tasks `grounded` and `unanswerable` from the graded questions (a task without questions is left out)."""
    tasks = []
    for name in ("grounded", "unanswerable"):
        mine = [score for score in scores if score.task == name]
        if not mine:
            continue
        groups = summary(mine)
        metrics = groups.pop("all")
        tasks.append(
            TaskResult(
                name, metrics, {m: HIGHER_IS_BETTER[m] for m in metrics}, config, mine, groups, len(mine)
            )
        )
    return tasks


def bits_task(bits: Bits) -> TaskResult:
    """The task `heldout`: bits per byte, with its interval over documents."""
    value = Interval(bits.bits_per_byte, bits.low, bits.high, bits.stderr, bits.num_documents, "bootstrap")
    config = {
        "output_type": "loglikelihood_rolling", "context": bits.context, "stride": bits.stride,
        "num_tokens": bits.num_tokens, "num_bytes": bits.num_bytes, "nats_per_token": bits.nats_per_token,
    }  # fmt: skip
    return TaskResult("heldout", {"bits_per_byte": value}, {"bits_per_byte": False}, config,
                      num_samples=bits.num_documents)  # fmt: skip


def write_results(
    folder: Path,
    tasks: Sequence[TaskResult],
    conditions: Conditions,
    baselines: Sequence[Baseline] = (),
    now: datetime | None = None,
) -> list[Path]:
    """Write the result file and one sample file per task that has samples; returns their paths, results first."""
    now = now or datetime.now()
    date = now.isoformat().replace(":", "-")
    paths, hashes = [], {}
    for task in tasks:
        if not task.scores:
            continue
        samples = [_sample(index, score, conditions) for index, score in enumerate(task.scores)]
        hashes[task.name] = _sha(
            "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
        )
        lines = "".join(json.dumps(sample, ensure_ascii=False, allow_nan=False) + "\n" for sample in samples)
        path = folder / f"samples_{re.sub(r'[^0-9A-Za-z_]', '_', task.name)}_{date}.jsonl"
        write_atomic(path, lines)
        paths.append(path)
    path = folder / f"results_{date}.json"
    write_json(path, layout(tasks, conditions, baselines, now) | {"task_hashes": hashes})
    return [path, *paths]


def manifest_metrics(tasks: Sequence[TaskResult], baselines: Sequence[Baseline] = ()) -> dict[str, Any]:
    """What the manifest of an evaluation keeps, and the model card prints: {task: {metric: interval}}, baselines."""
    found: dict[str, Any] = {task.name: {m: asdict(i) for m, i in task.metrics.items()} for task in tasks}
    return found | {"baselines": [asdict(baseline) for baseline in baselines]}


def layout(
    tasks: Sequence[TaskResult], conditions: Conditions, baselines: Sequence[Baseline], now: datetime
) -> dict[str, Any]:
    """The result object, without the hashes of the samples."""
    c = conditions
    return {
        "results": {task.name: _metrics(task) for task in tasks},
        "group_subtasks": {task.name: [] for task in tasks},
        "configs": {task.name: _config(task, c) for task in tasks},
        "versions": {task.name: VERSION for task in tasks},
        "n-shot": {task.name: 0 for task in tasks},
        "higher_is_better": {task.name: dict(task.higher_is_better) for task in tasks},
        "n-samples": {
            task.name: {"original": task.num_samples, "effective": task.num_samples} for task in tasks
        },
        "config": {
            "model": "ownlm", "model_args": {"pretrained": c.model_name}, "model_num_parameters": c.num_parameters,
            "model_dtype": c.dtype, "model_revision": "", "model_sha": c.model_digest, "batch_size": None,
            "batch_sizes": [], "device": "cpu", "use_cache": None, "limit": None, "bootstrap_iters": 1000,
            "gen_kwargs": dict(c.generation), "random_seed": c.seed, "numpy_seed": c.seed, "torch_seed": c.seed,
            "fewshot_seed": c.seed,
        },
        "git_hash": c.git_hash,
        "date": now.timestamp(),
        "tokenizer_pad_token": _token(c.pad),
        "tokenizer_eos_token": _token(c.eos),
        "tokenizer_bos_token": _token(c.bos),
        "eot_token_id": c.eos[1] if c.eos else None,
        "max_length": c.max_length,
        "model_source": "ownlm",
        "model_name": c.model_name,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", c.model_name),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": False,
        "chat_template": c.chat_template,
        "chat_template_sha": _sha(c.chat_template) if c.chat_template else None,
        "total_evaluation_time_seconds": str(c.seconds),
        "ownlm": {
            "format": 1,
            "intervals": {task.name: {m: asdict(i) for m, i in task.metrics.items()} for task in tasks},
            "kinds": {
                task.name: {kind: {m: asdict(i) for m, i in metrics.items()} for kind, metrics in task.kinds.items()}
                for task in tasks if task.kinds
            },
            "baselines": [asdict(baseline) for baseline in baselines],
        },
    }  # fmt: skip


def _metrics(task: TaskResult) -> dict[str, Any]:
    found: dict[str, Any] = {"name": task.name, "alias": task.name, "sample_len": task.num_samples}
    for metric, value in task.metrics.items():
        found[f"{metric},none"] = value.value
        found[f"{metric}_stderr,none"] = value.stderr
    return found


def _config(task: TaskResult, conditions: Conditions) -> dict[str, Any]:
    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": better}
        for name, better in task.higher_is_better.items()
    ]
    return {
        "task": task.name, "num_fewshot": 0, "output_type": "generate_until", "metric_list": metrics,
        "repeats": 1, "should_decontaminate": False, **task.config,
        "metadata": {"version": VERSION, "pretrained": conditions.model_name},
    }  # fmt: skip


def _sample(index: int, score: Score, conditions: Conditions) -> dict[str, Any]:
    """One line of a sample file. `arguments` is nested as the harness writes it, so that `datasets` can read it."""
    question, answer = str(score.detail["question"]), str(score.detail["answer"])
    doc = {"id": score.sample_id, **score.detail}
    target = str(score.detail["reference"])
    return {
        "doc_id": index,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": question, "arg_1": dict(conditions.generation)}},
        "resps": [[answer]],
        "filtered_resps": [answer],
        "filter": "none",
        "metrics": list(score.metrics),
        "doc_hash": _sha(json.dumps({"id": score.sample_id, "question": question}, sort_keys=True)),
        "prompt_hash": _sha(question),
        "target_hash": _sha(target),
        **score.metrics,
    }


def _token(token: tuple[str, int] | None) -> list[str]:
    return [token[0], str(token[1])] if token else []


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
