"""Stages from files to shards: corpus, tokenizer, shards, index, overlap, questions."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ownlm.data import overlap, split, stdlib, store
from ownlm.data import shards as sharding
from ownlm.data.flow import execute, recipe, workers
from ownlm.data.funnel import Funnel
from ownlm.errors import DataError
from ownlm.pipeline.journey import Journey
from ownlm.rag import lexical
from ownlm.records import Document
from ownlm.runtime.artifact import Stage
from ownlm.runtime.progress import Progress
from ownlm.tokenizer import bpe
from ownlm.tokenizer.tokenizer import Tokenizer

TRAIN, HELDOUT = "train.jsonl.zst", "heldout.jsonl.zst"


def corpus(journey: Journey) -> None:
    """The recipe `assistant` over the data (data/flow), then the split; every drop counted by reason."""
    data, seed = journey.settings.data, journey.settings.seed
    paths = [path.expanduser().resolve() for path in data.paths]
    config = {**data.model_dump(mode="json", exclude={"paths"}), "seed": seed,
              "paths": [str(path) for path in paths] or f"standard library of Python {platform.python_version()}"}  # fmt: skip
    curation = _curation(journey, paths)
    config["recipe"] = {**curation.as_dict()["recipe"], "files": curation.digests()}

    def work(stage: Stage) -> None:
        curated = stage.folder / "curated"
        given = None if paths else stdlib.standard_library()
        facts = execute.execute(curation, curated, workers.LocalWorkers(_num_workers(journey)), given)
        sizes = _write_split(stage, execute.read_output(curated), data.heldout_fraction, seed)
        if sizes["train_documents"] == 0:
            raise DataError(
                "No document is left to learn from.",
                f"{facts['num_documents']} documents",
                "give a folder with more text (see `ownlm build --help`)",
            )
        for name in ("funnel.json", "dropped.jsonl.zst", "quarantine.jsonl.zst"):
            os.replace(curated / name, stage.folder / name)
        shutil.rmtree(curated)
        stage.metrics.update(sizes, funnel=facts["funnel"])
        funnel = Funnel(seed)
        funnel.merge(facts["funnel"])
        for step, reason, num_in, num_out, dropped in funnel.table():
            journey.say(f"  {step:<14} in {num_in:>7}  out {num_out:>7}  dropped {dropped:>6}" if not reason
                        else f"  {'':<14} - {reason}: {dropped}")  # fmt: skip

    journey.make("corpus", (), config, work, watch=_fingerprint(paths))


def _curation(journey: Journey, paths: list[Path]) -> recipe.Pipeline:
    """The recipe over the paths. A recipe's own `read` is not used: what to read is the build's choice."""
    data = journey.settings.data
    read = [{"path": [str(path) for path in paths], "licence": data.licence or ""}] if paths else []
    return recipe.load(data.recipe, {"read": read, "seed": journey.settings.seed})


def _num_workers(journey: Journey) -> int:
    return journey.settings.threads or len(os.sched_getaffinity(0))


def _write_split(stage: Stage, documents: Iterable[Document], fraction: float, seed: int) -> dict[str, Any]:
    """Two document files and their sizes; the licences go to the stage."""
    sizes = dict.fromkeys(("train_documents", "train_bytes", "heldout_documents", "heldout_bytes"), 0)

    def side(heldout: bool, pairs: Iterable[tuple[Document, bool]]) -> Iterator[Document]:
        name = "heldout" if heldout else "train"
        for document, is_heldout in pairs:
            if is_heldout == heldout:
                sizes[f"{name}_documents"] += 1
                sizes[f"{name}_bytes"] += len(document.text.encode("utf-8"))
                stage.licences[document.licence] = stage.licences.get(document.licence, 0) + 1
                yield document

    with Progress("corpus", unit="documents") as progress:
        spool = stage.folder / "all.jsonl.zst"
        flags: list[bool] = []

        def spooled() -> Iterator[Document]:
            for document, is_heldout in split.divide(documents, fraction, seed):
                flags.append(is_heldout)
                progress.update(1)
                yield document

        store.write_documents(spool, spooled())
        for heldout, name in ((False, TRAIN), (True, HELDOUT)):
            pairs = zip(store.read_documents(spool), flags, strict=True)
            store.write_documents(stage.folder / name, side(heldout, pairs))
        spool.unlink()
    return sizes


def _fingerprint(paths: list[Path]) -> list[list[Any]]:
    """Name, size and mtime of every file: changes when the data does, without reading it."""
    found: list[list[Any]] = []
    for path in paths:
        if not path.exists():
            raise DataError("There is no such file or folder.", str(path), "check the path given with --data")
        if path.is_file():
            found.append([str(path), path.stat().st_size, path.stat().st_mtime_ns])
        for folder, names, members in os.walk(path):
            names.sort()
            for name in sorted(members):
                status = os.lstat(os.path.join(folder, name))
                found.append([os.path.join(folder, name), status.st_size, status.st_mtime_ns])
    return found


def train_documents(journey: Journey) -> Iterator[Document]:
    return store.read_documents(journey.root / "corpus" / TRAIN)


def heldout_documents(journey: Journey) -> Iterator[Document]:
    return store.read_documents(journey.root / "corpus" / HELDOUT)


def all_documents(journey: Journey) -> Iterator[Document]:
    return itertools.chain(train_documents(journey), heldout_documents(journey))


def tokenizer(journey: Journey) -> None:
    chosen = journey.settings.tokenizer

    def work(stage: Stage) -> None:
        size = journey.made["corpus"].metrics["train_bytes"]
        with Progress("tokenizer", total=size, unit="bytes") as progress:

            def texts() -> Iterator[str]:
                for document in train_documents(journey):
                    yield document.text
                    progress.update(len(document.text.encode("utf-8")))

            trained = bpe.train(texts(), chosen.vocab_size, family=chosen.family)
        trained.save(stage.folder)
        stage.metrics["vocab_size"] = trained.vocab_size

    journey.make("tokenizer", ("corpus",), chosen.model_dump(mode="json"), work)


def shards(journey: Journey) -> None:
    """Both sides as token ids, every document behind a BOS, with the table that leads from a token to its document."""

    def work(stage: Stage) -> None:
        tokens = Tokenizer.load(journey.root / "tokenizer")
        for name, documents in (("train", train_documents(journey)), ("heldout", heldout_documents(journey))):
            with Progress(
                f"shards {name}", total=journey.made["corpus"].metrics[f"{name}_documents"], unit="documents"
            ) as progress:
                info = sharding.write_shards(
                    stage.folder / name, _counted(documents, progress), tokens.encode_batch,
                    tokens.special_id("<|bos|>"), tokens.vocab_size,
                )  # fmt: skip
            stage.metrics[f"{name}_tokens"] = info.num_tokens
            stage.metrics[f"{name}_bytes"] = info.num_bytes

    journey.make("shards", ("corpus", "tokenizer"), {}, work)


def index(journey: Journey) -> None:
    """All kept documents, held-out ones too: what is held out from training may still be asked about."""

    def work(stage: Stage) -> None:
        metrics = journey.made["corpus"].metrics
        total = metrics["train_documents"] + metrics["heldout_documents"]
        with Progress("index", total=total, unit="documents") as progress:
            built = lexical.LexicalIndex.build(
                stage.folder / "passages.sqlite", _counted(all_documents(journey), progress),
                num_training=metrics["train_documents"], seed=journey.settings.seed,
            )  # fmt: skip
        stage.metrics.update(passages=built.num_passages, threshold=built.threshold)

    journey.make("index", ("corpus",), {}, work)


def fingerprints(journey: Journey) -> None:
    """Where every stretch of the training text can be found again."""

    def work(stage: Stage) -> None:
        with Progress(
            "overlap", total=journey.made["corpus"].metrics["train_documents"], unit="documents"
        ) as progress:
            overlap.build(_counted(train_documents(journey), progress), stage.folder)

    journey.make("overlap", ("corpus",), {}, work)


def _counted(documents: Iterable[Document], progress: Progress) -> Iterator[Document]:
    for document in documents:
        yield document
        progress.update(1)
