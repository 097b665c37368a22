"""The evaluation: bits per byte beside xz and Kneser-Ney, and the grounded questions from held-out documents."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ownlm.data import store
from ownlm.data.shards import Shards
from ownlm.evals import baselines, grounded, results
from ownlm.evals.baselines import Baseline
from ownlm.evals.bits import Bits
from ownlm.evals.results import Conditions, TaskResult
from ownlm.model.adapters import hf
from ownlm.pipeline import assistant, examples, texts, training
from ownlm.pipeline.assistant import Assistant
from ownlm.pipeline.config import EvalSettings
from ownlm.pipeline.journey import Journey
from ownlm.records import Question, Sampling
from ownlm.runtime.artifact import Stage
from ownlm.runtime.progress import Progress


def evaluate(journey: Journey) -> None:
    settings = journey.settings
    config = {**settings.eval.model_dump(mode="json"), "passages": settings.rag.passages}

    def work(stage: Stage) -> None:
        with assistant.assemble(journey.root, journey.made["model"], settings.rag.passages) as opened:
            tasks, beside = measure(opened, settings.eval, settings.pretrain.context, journey.say)
            conditions = conditions_of(opened, time.monotonic())
            results.write_results(stage.folder, tasks, conditions, beside)
        stage.metrics.update(results.manifest_metrics(tasks, beside))

    inputs = ("model", "pretrained", "tokenizer", "index", "questions", "shards", "corpus")
    journey.make("eval", inputs, config, work)


def measure(
    opened: Assistant, settings: EvalSettings, context: int, say: Callable[[str], None]
) -> tuple[list[TaskResult], list[Baseline]]:
    """Every task with its intervals, and the baselines (none when switched off)."""
    root = opened.root
    heldout = Shards(root / "shards" / "heldout")
    tasks: list[TaskResult] = []
    beside: list[Baseline] = []
    if heldout.num_tokens > heldout.num_documents:
        tasks.append(results.bits_task(_bits(root, heldout, context)))
        beside = _baselines(root, heldout, settings.baselines, say)
    questions = list(examples.read(root / "questions" / examples.EVAL))
    tasks += _grounded(opened, questions)
    return tasks, beside


def _bits(root: Path, heldout: Shards, context: int) -> Bits:
    """Of the language model before it was fine-tuned: fine-tuning trades some of it for answering."""
    with Progress("bits/byte", unit="tokens") as progress:
        found = training.measure(hf.load(root / training.PRETRAINED), heldout, context)
        progress.update(heldout.num_tokens, bits_per_byte=found.bits_per_byte)
    return found


def _baselines(root: Path, heldout: Shards, wanted: bool, say: Callable[[str], None]) -> list[Baseline]:
    if not wanted:
        say("baselines are switched off (eval.baselines)")
        return []
    sides = [
        baselines.join(document.text for document in store.read_documents(root / "corpus" / name))
        for name in (texts.TRAIN, texts.HELDOUT)
    ]
    with Progress("baseline xz") as progress:
        found = baselines.xz(*sides)
        progress.update(0, bits_per_byte=found[0].bits_per_byte)
    train = Shards(root / "shards" / "train")
    with Progress("baseline KN") as progress:
        pieces = (baselines.split_documents(side.tokens, side.document_starts) for side in (train, heldout))
        found.append(baselines.kneser_ney(*pieces, heldout.num_bytes, train.info.vocab_size))
        progress.update(0, bits_per_byte=found[-1].bits_per_byte)
    return found


def _grounded(opened: Assistant, questions: list[Question]) -> list[TaskResult]:
    sampling = Sampling(max_tokens=160)
    scores = []
    right = asked = 0
    with Progress("questions", total=len(questions), unit="answers") as progress:
        for score in grounded.grade(questions, opened.grounded, opened.index.search, sampling=sampling):
            scores.append(score)
            asked += 1
            right += int(score.metrics.get("right", score.metrics.get("refusal_correct", 0.0)))
            progress.update(1, right=f"{100 * right / asked:.0f}%")
    config = {"generation_kwargs": {"max_gen_toks": sampling.max_tokens, "do_sample": False}}
    return results.grounded_tasks(scores, config)


def conditions_of(opened: Assistant, started: float) -> Conditions:
    tokens = opened.tokenizer
    return Conditions(
        model_name=opened.root.name, model_digest=opened.manifest.digest,
        num_parameters=opened.raw.model.num_parameters(), chat_template=tokens.chat_template,
        max_length=opened.raw.max_context, bos=("<|bos|>", tokens.special_id("<|bos|>")),
        eos=("<|end|>", tokens.special_id("<|end|>")), pad=("<|pad|>", tokens.special_id("<|pad|>")),
        generation={"temperature": 0.0, "max_tokens": 160}, seconds=time.monotonic() - started,
    )  # fmt: skip


def summary(tasks: list[TaskResult], beside: list[Baseline]) -> dict[str, Any]:
    return results.manifest_metrics(tasks, beside)
