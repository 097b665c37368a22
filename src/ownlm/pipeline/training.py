"""Stages that train: pretraining on the shards, then fine-tuning on conversations written from the text."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ownlm.data.shards import Shards
from ownlm.evals import bits
from ownlm.model import presets
from ownlm.model.adapters import hf
from ownlm.model.decoder import Decoder
from ownlm.pipeline import examples
from ownlm.pipeline.journey import Journey
from ownlm.posttrain.sft import ConversationBatches, conversation_batches
from ownlm.rag.lexical import LexicalIndex
from ownlm.records import StepRecord
from ownlm.runtime.artifact import Stage
from ownlm.runtime.progress import Progress
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.train import loop, wordvectors
from ownlm.train.batches import Batch, shard_batches
from ownlm.train.config import TrainConfig

PRETRAINED, MODEL = "pretrained", "model"
_VALIDATIONS = 8  # glances at held-out text during pretraining
_GLANCE_TOKENS = 8192


def pretrain(journey: Journey) -> None:
    """Random weights to a language model of the training text; glances at held-out text on the way."""
    settings, plan = journey.settings, journey.plan
    assert plan is not None
    chosen = settings.pretrain
    num_steps, depth = plan.integer("steps"), plan.integer("depth")
    config = {
        **chosen.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "steps": num_steps, "depth": depth, "max_positions": max(chosen.context, settings.sft.context),
        "seed": settings.seed, "threads": settings.threads,
    }  # fmt: skip

    def work(stage: Stage) -> None:
        tokens = Tokenizer.load(journey.root / "tokenizer")
        shards = Shards(journey.root / "shards" / "train")
        heldout = Shards(journey.root / "shards" / "heldout")
        shape = presets.from_dial(depth, tokens.vocab_size, config["max_positions"])
        model = Decoder(shape)
        model.initialize(settings.seed)
        if chosen.word_vectors:
            with Progress("word vectors", unit="tokens") as progress:
                rows = wordvectors.initialize(
                    model.embedding.weight, shards.tokens, settings.seed, shape.initializer_range
                )
                progress.update(rows)
        run = TrainConfig(
            num_steps=num_steps, learning_rate=chosen.learning_rate,
            embedding_learning_rate=chosen.embedding_learning_rate, seed=settings.seed,
            checkpoint_seconds=chosen.checkpoint_seconds, precision=chosen.precision, compile=chosen.compile,
            threads=settings.threads,
        )  # fmt: skip
        batch_at = shard_batches(shards, chosen.context, chosen.batch_tokens // chosen.context, settings.seed)
        glance = _glance(model, heldout, chosen.context)
        last = _steps(journey, "pretrain", model, batch_at, run, stage.folder, glance)
        stage.metrics.update(
            parameters=model.num_parameters(), loss=last.loss, validation_bits_per_byte=glance(),
            tokens=last.tokens, tokens_per_second=last.tokens_per_second, mfu=last.mfu,
            epochs=batch_at.epochs(num_steps),
        )  # fmt: skip
        stage.licences.update(journey.made["corpus"].licences)
        save(model, tokens, journey.root / "tokenizer", stage.folder)

    journey.make(PRETRAINED, ("shards", "tokenizer"), config, work)


def finetune(journey: Journey) -> None:
    """The language model to an assistant that answers from passages: loss on its own words only."""
    settings, plan = journey.settings, journey.plan
    assert plan is not None
    chosen, num_steps = settings.sft, plan.integer("sft_steps")
    config = {
        **chosen.model_dump(mode="json", exclude={"questions"}), "steps": num_steps, "seed": settings.seed,
        "passages": settings.rag.passages, "precision": settings.pretrain.precision,
        "compile": settings.pretrain.compile, "threads": settings.threads,
    }  # fmt: skip

    def work(stage: Stage) -> None:
        tokens = Tokenizer.load(journey.root / "tokenizer")
        model = hf.load(journey.root / PRETRAINED)
        batches = _conversations(journey, stage, tokens, num_steps)
        run = TrainConfig(
            num_steps=num_steps, learning_rate=chosen.learning_rate,
            embedding_learning_rate=chosen.embedding_learning_rate, seed=settings.seed + 1,
            checkpoint_seconds=settings.pretrain.checkpoint_seconds, precision=settings.pretrain.precision,
            compile=settings.pretrain.compile, threads=settings.threads,
        )  # fmt: skip
        last = _steps(journey, "finetune", model, batches, run, stage.folder)
        stage.metrics.update(
            conversations=asdict(batches.stats) | {"epochs": num_steps / batches.num_batches},
            loss=last.loss, tokens_per_second=last.tokens_per_second,
        )  # fmt: skip
        stage.licences.update(journey.made["corpus"].licences)
        save(model, tokens, journey.root / "tokenizer", stage.folder)

    journey.make(MODEL, (PRETRAINED, "tokenizer", "index", "questions"), config, work)


def _conversations(journey: Journey, stage: Stage, tokens: Tokenizer, num_steps: int) -> ConversationBatches:
    """As many conversations as the steps can use once, each with passages as retrieval finds them."""
    settings = journey.settings
    index = LexicalIndex(journey.root / "index" / "passages.sqlite")
    questions = examples.read_training(journey.root)
    wanted = min(len(questions), examples.num_wanted(num_steps, settings.sft.batch_tokens))
    counts: Counter[str] = Counter()
    with Progress("conversations", total=wanted, unit="questions") as progress:

        def made() -> Iterator[examples.Conversation]:
            numbered = enumerate(questions[:wanted], settings.seed)
            with (
                ThreadPoolExecutor() as pool
            ):  # SQLite searches without holding Python's lock; the order stays
                for found in pool.map(
                    lambda q: examples.conversation(q[1], index, settings.rag.passages, q[0]), numbered
                ):
                    progress.update(1)
                    counts.update(found.note)
                    if found.conversation is not None:
                        yield found.conversation

        batches = conversation_batches(
            tokens, made(), settings.sft.context, settings.sft.batch_tokens, settings.seed
        )
    for reason, count in sorted(counts.items()):
        journey.say(f"  {count} of {wanted} conversations: {reason}")
    if batches.stats.num_too_long:
        journey.say(f"  {batches.stats.num_too_long} conversations are longer than sft.context and left out")
    stage.metrics["conversation_counts"] = dict(counts)
    return batches


def _steps(
    journey: Journey, label: str, model: Decoder, batch_at: Callable[[int], Batch], run: TrainConfig, folder: Path,
    glance: Callable[[], float] | None = None,
) -> StepRecord:  # fmt: skip
    """Run the loop to its end, with a progress line and a line in the run log per step; clears its checkpoints."""
    records: Iterable[StepRecord] = loop.train(model, batch_at, run, folder, journey.say)
    every = max(1, run.num_steps // _VALIDATIONS)
    last: StepRecord | None = None
    with Progress(label, total=run.num_steps, unit="steps") as progress:
        for last in records:
            if progress.count == 0 and last.step > 1:
                progress.start_at(last.step - 1)
            said = asdict(last)
            journey.log.write("step", stage=label, note=said.pop("event"), **said)
            facts: dict[str, Any] = {
                "loss": last.loss,
                "tok/s": round(last.tokens_per_second),
                "mfu": last.mfu,
            }
            if glance and (last.step % every == 0 or last.step == run.num_steps):
                progress.facts["val bits/byte"] = glance()
                journey.log.write(
                    "validation", stage=label, step=last.step, bits_per_byte=progress.facts["val bits/byte"]
                )
            progress.update(1, **facts)
    last = last or _last_record(folder, run)
    clear(folder)
    return last


def _last_record(folder: Path, run: TrainConfig) -> StepRecord:
    """A run that was killed between its last step and its end has no step left to yield."""
    row = json.loads((folder / "losses.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return StepRecord(row["step"], run.num_steps, row["loss"], row["tokens"], row["learning_rate"], math.nan if row["grad_norm"] is None else row["grad_norm"], 0.0, 0.0, 0.0)  # fmt: skip


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished run; the losses stay."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _glance(model: Decoder, heldout: Shards, context: int) -> Callable[[], float]:
    """A quick look at the first held-out documents: bits per byte over some thousand tokens."""
    ends = [*heldout.document_starts[1:].tolist(), heldout.num_tokens]
    number = next((i for i, end in enumerate(ends, 1) if end >= _GLANCE_TOKENS), len(ends))
    tokens = heldout.tokens[: min(ends[number - 1], _GLANCE_TOKENS)]
    starts = heldout.document_starts[:number]
    share = len(tokens) / ends[number - 1]
    num_bytes = max(1, int(heldout.document_bytes[:number].sum() * share))
    return lambda: bits.bits_per_byte(model, tokens, starts, num_bytes, context, context)


def measure(model: Decoder, heldout: Shards, context: int) -> bits.Bits:
    return bits.measure(
        model, heldout.tokens, heldout.document_starts, heldout.document_bytes, context, max(1, context // 2)
    )


def save(model: Decoder, tokens: Tokenizer, tokenizer_folder: Path, folder: Path) -> None:
    hf.save(
        model, folder, tokenizer_folder=tokenizer_folder, eos_ids=(tokens.special_id("<|end|>"), tokens.special_id("<|bos|>")),
        bos_id=tokens.special_id("<|bos|>"), pad_id=tokens.special_id("<|pad|>"),
    )  # fmt: skip
