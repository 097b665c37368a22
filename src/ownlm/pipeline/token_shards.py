"""A data snapshot as token shards: the last step from raw pages to what training reads.

OUT/tokenizer/          learned here, or a copy of the one that was given
OUT/train.*             the shard (data/shards.py); OUT/heldout.* when a share is held out
OUT/train.MODE-LENGTH.* the packing plan, when rows of one length are wanted
OUT/webdataset/, OUT/rows.h5   the packed rows in other containers, when asked for
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ownlm.config import Settings
from ownlm.data import shards as sharding
from ownlm.data import split, store
from ownlm.data.flow.execute import read_output
from ownlm.data.pack.plan import plan_rows, save_plan
from ownlm.data.pack.rows import PackedShards
from ownlm.data.pack.webdataset import write_webdataset
from ownlm.data.shards import Shards
from ownlm.errors import UsageError
from ownlm.records import Document
from ownlm.runtime import artifact
from ownlm.runtime.artifact import Manifest, Stage
from ownlm.runtime.progress import Progress
from ownlm.tokenizer import bpe
from ownlm.tokenizer.load import load

KIND = "shards"


class ShardSettings(Settings):
    tokenizer: Path | None = None
    """Folder or file of a tokenizer; none: learn one from the documents."""
    vocab_size: int = Field(32768, ge=512, le=262144)
    """Tokens of a tokenizer that is learned."""
    eos: bool = False
    """Close every document with an end token (by default only a begin token opens it)."""
    heldout_fraction: float = Field(0.0, ge=0, lt=0.5)
    """Share of the documents that go to a shard of their own, for measuring."""
    length: int | None = Field(None, ge=2)
    """Tokens per packed row; none: no packing plan."""
    mode: Literal["stream", "best-fit", "pad"] = "best-fit"
    """How rows are packed."""
    webdataset: bool = False
    """Write the packed rows as WebDataset tar files too."""
    hdf5: bool = False
    """Write the packed rows as one HDF5 file too."""
    seed: int = Field(0, ge=0)
    """Chooses the held-out documents."""


def make(
    data: Path, out: Path, settings: ShardSettings, notice: Callable[[str], None]
) -> tuple[Manifest, bool]:
    """Returns the manifest and whether work was done. Raises UsageError, ArtifactError and what the parts raise."""
    if (settings.webdataset or settings.hdf5) and settings.length is None:
        raise UsageError("WebDataset and HDF5 hold packed rows.", "no row length", "add --length, e.g. 2048")
    out = out.resolve()
    if out.exists() and not (out / artifact.NAME).is_file():
        raise UsageError("The output folder exists and holds something else.", str(out), "give another --out")
    source = artifact.read(data)

    def work(stage: Stage) -> None:
        _write(data, source, stage, settings)

    with artifact.exclusive(out.parent, f".{out.name}.lock"):
        return artifact.run(
            out.parent, out.name, KIND, {"documents": source}, settings.model_dump(mode="json"), work, notice
        )


def _write(data: Path, source: Manifest, stage: Stage, settings: ShardSettings) -> None:
    folder = stage.folder / "tokenizer"
    shutil.rmtree(folder, ignore_errors=True)
    if settings.tokenizer is not None:
        tokens: Any = load(settings.tokenizer)
        tokens.save(folder)
    else:
        with Progress("tokenizer", total=source.metrics["num_documents"], unit="documents") as progress:
            tokens = bpe.train(
                (document.text for document in _counted(read_output(data), progress)), settings.vocab_size
            )
        tokens.save(folder)
    bos, eos = _bounds(tokens, settings.eos)
    for name, documents in _sides(data, stage.folder, settings):
        with Progress(f"shards {name}", unit="documents") as progress:
            info = sharding.write_shards(stage.folder / name, _counted(documents, progress), tokens.encode_batch, bos,
                                         tokens.vocab_size, eos_id=eos)  # fmt: skip
        for key in ("num_documents", "num_tokens", "num_bytes"):
            stage.metrics[key if name == "train" else f"{name}_{key}"] = getattr(info, key)
    (stage.folder / "spool.jsonl.zst").unlink(missing_ok=True)
    stage.licences.update(source.licences)
    if settings.length is not None:
        stage.metrics["packing"] = _pack(stage.folder, settings, settings.length)


def _bounds(tokens: Any, eos: bool) -> tuple[int, int | None]:
    """The ids of the begin and end token, under the names that vocabularies have for them."""

    def first(names: tuple[str, ...]) -> int | None:
        for name in names:
            try:
                return int(tokens.special_id(name))
            except (KeyError, UsageError):
                continue
        return None

    ends = ("<|eos|>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|end|>")
    bos = first(("<|bos|>", "<|begin_of_text|>", "<s>", "<bos>", "<|endoftext|>"))
    end = first(ends)
    if bos is None:
        raise UsageError(
            "The tokenizer has no token to open a document with.",
            "looked for <|bos|>, <s>, <bos> ...",
            "use another tokenizer",
        )
    if eos and end is None:
        raise UsageError(
            "The tokenizer has no token to close a document with.",
            f"looked for {', '.join(ends)}",
            "leave out --eos",
        )
    return bos, end if eos else None


def _sides(data: Path, folder: Path, settings: ShardSettings) -> Iterator[tuple[str, Iterator[Document]]]:
    if not settings.heldout_fraction:
        yield "train", read_output(data)
        return
    flags: list[bool] = []

    def spooled() -> Iterator[Document]:
        for document, is_heldout in split.divide(read_output(data), settings.heldout_fraction, settings.seed):
            flags.append(is_heldout)
            yield document

    spool = folder / "spool.jsonl.zst"
    store.write_documents(spool, spooled())
    for name, wanted in (("train", False), ("heldout", True)):
        pairs = zip(store.read_documents(spool), flags, strict=True)
        yield name, (document for document, flag in pairs if flag == wanted)


def _pack(folder: Path, settings: ShardSettings, length: int) -> dict[str, Any]:
    shards = Shards(folder / "train")
    plan = plan_rows(shards, settings.mode, length)
    save_plan(folder / "train", f"{settings.mode}-{length}", plan)
    packed = PackedShards(shards, plan)
    if settings.webdataset:
        shutil.rmtree(folder / "webdataset", ignore_errors=True)
        write_webdataset(packed, folder / "webdataset")
    if settings.hdf5:
        from ownlm.data.adapters.h5py import write_hdf5

        write_hdf5(packed, folder / "rows.h5")
    return asdict(plan.facts)


def _counted(documents: Iterator[Document], progress: Progress) -> Iterator[Document]:
    for document in documents:
        yield document
        progress.update(1)
