"""What a run reads: token ids to train on and to measure on, and the tokenizer behind them.

Text becomes OUT/data (tokenizer, train and validation shards) once; shards are read where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.data import read, shards
from ownlm.data.shards import Shards
from ownlm.errors import DataError, UsageError
from ownlm.pipeline.pretraining.settings import PretrainSettings
from ownlm.records import Document, Drop
from ownlm.runtime import artifact, files
from ownlm.runtime.artifact import Manifest, Stage
from ownlm.tokenizer.load import load
from ownlm.tokenizer.trainers import train as learn

CHARACTERS_BELOW = 4_000_000  # bytes of text: below, a tokenizer of words has seen too little
MOST_TEXT = 32_000_000  # bytes that one process reads and encodes while the others wait for it


@dataclass(frozen=True, slots=True)
class Inputs:
    train: Shards
    validation: Shards
    tokenizer: Any
    tokenizer_folder: Path
    versions: dict[str, str]  # name -> digest of what was read
    manifest: Manifest | None  # of the artifact that the shards are part of

    @property
    def bytes_per_token(self) -> float:
        return self.validation.num_bytes / max(1, self.validation.num_tokens - self.validation.num_documents)


def gather(settings: PretrainSettings, out: Path, notice: Callable[[str], None]) -> Inputs:
    """Raises UsageError without data, DataError or ArtifactError for data that cannot be used."""
    if settings.data is None:
        raise UsageError(
            "A run needs data.", "data is not set", "give data=FOLDER: text, or what `ownlm data shards` made"
        )
    found = _shards_at(settings.data)
    if found is None:
        size = sum(row[1] for row in _watch(settings.data))
        if settings.layout != "alone" and size > MOST_TEXT:
            raise UsageError("Several processes cannot wait for so much text to become tokens.", f"{settings.data}: {size:,} bytes",
                             "make token shards first: ownlm data run, then ownlm data shards")  # fmt: skip
        artifact.run(out, "data", "shards", {}, _text_config(settings), lambda stage: _write(settings, stage, notice),
                     notice, watch=_watch(settings.data, settings.validation))  # fmt: skip
        found = out / "data" / "train", out / "data" / "validation"
    else:
        _check_shards(settings)
    train_prefix, validation_prefix = found
    if settings.validation is not None and (given := _shards_at(settings.validation)) is not None:
        validation_prefix = given[0]
    if validation_prefix is None:
        raise UsageError("There is nothing to measure on.", f"{settings.data} has no held-out part",
                         "give validation=SHARDS, or make the shards with --heldout 0.05")  # fmt: skip
    folder = _tokenizer_folder(settings, train_prefix)
    train, validation = Shards(train_prefix), Shards(validation_prefix)
    tokenizer = load(folder)
    if tokenizer.vocab_size > train.info.vocab_size or validation.info.vocab_size != train.info.vocab_size:
        raise UsageError(
            "Tokenizer and shards do not belong together.",
            f"tokenizer {tokenizer.vocab_size} tokens, shards {train.info.vocab_size} and {validation.info.vocab_size}",
            "give the tokenizer the shards were made with",
        )
    versions = {"train": train.digest, "validation": validation.digest, "tokenizer": files.sha256_file(folder / "tokenizer.json")}  # fmt: skip
    manifest = artifact.read(train_prefix.parent) if (train_prefix.parent / artifact.NAME).is_file() else None
    return Inputs(train, validation, tokenizer, folder, versions, manifest)


def _check_shards(settings: PretrainSettings) -> None:
    """What text would be turned into tokens by has no meaning where tokens are given."""
    problems = []
    if settings.vocab_size is not None:
        problems.append(f"vocab_size = {settings.vocab_size}")
    if settings.tokenizer is not None and not Path(settings.tokenizer).is_dir():
        problems.append(f"tokenizer = {settings.tokenizer!r}, which is no folder")
    if settings.validation is not None and _shards_at(settings.validation) is None:
        problems.append(f"validation = {settings.validation}, which holds no shards")
    if problems:
        raise UsageError(
            "The data are token shards already.", "; ".join(problems), "leave these out, or give text"
        )


def _shards_at(path: Path) -> tuple[Path, Path | None] | None:
    """(training prefix, held-out prefix) where `path` is a shard prefix or a folder of `ownlm data shards`."""
    if Path(f"{path}.index.json").is_file():
        return path, None
    if (path / "train.index.json").is_file():
        held = [path / name for name in ("heldout", "validation") if (path / f"{name}.index.json").is_file()]
        return path / "train", held[0] if held else None
    return None


def _tokenizer_folder(settings: PretrainSettings, prefix: Path) -> Path:
    places = [Path(settings.tokenizer)] if settings.tokenizer and Path(settings.tokenizer).is_dir() else []
    places += [prefix.parent / "tokenizer", prefix.parent.parent / "tokenizer"]
    for place in places:
        if (place / "tokenizer.json").is_file():
            return place
    raise UsageError(
        "There is no tokenizer for these shards.", ", ".join(map(str, places)), "give tokenizer=FOLDER"
    )


def _text_config(settings: PretrainSettings) -> dict[str, Any]:
    kept = ("tokenizer", "vocab_size", "validation_fraction", "data", "validation")
    return {name: value for name, value in settings.model_dump(mode="json").items() if name in kept}


def _watch(*paths: Path | None) -> list[list[Any]]:
    """Name, size and time of every file: a changed text is read again."""
    found = []
    for path in paths:
        if path is not None:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    found.append([str(file), file.stat().st_size, file.stat().st_mtime_ns])
    return found


def _texts(path: Path, notice: Callable[[str], None]) -> list[Document]:
    """Its documents; what could not be read is counted by reason and told."""
    documents: list[Document] = []
    drops: Counter[str] = Counter()
    for item in read.read([path]):
        if isinstance(item, Drop):
            drops[item.reason] += 1
        else:
            documents.append(item)
    for reason, count in drops.most_common():
        notice(f"{path}: {count} left out: {reason}")
    if not documents:
        raise DataError("There is no text to train on.", str(path), "give a file or folder with text")
    return documents


def _write(settings: PretrainSettings, stage: Stage, notice: Callable[[str], None]) -> None:
    """Tokenizer and shards of the text: split first, so that the tokenizer has not seen what is held out either."""
    assert settings.data is not None
    documents = _texts(settings.data, notice)
    held = _texts(settings.validation, notice) if settings.validation is not None else None
    if held is None:
        documents, held = _split(documents, settings.validation_fraction)
    size = sum(len(document.text.encode()) for document in documents)
    folder = stage.folder / "tokenizer"
    if settings.tokenizer and Path(settings.tokenizer).is_dir():
        tokenizer = load(settings.tokenizer)
    else:
        kind = settings.tokenizer or ("characters" if size < CHARACTERS_BELOW else "bpe")
        limit = settings.vocab_size or (100_000 if kind != "bpe" else int(min(32768, max(2048, size / 1500))))
        # A character of the held-out text alone would have no token; which characters there are gives nothing away.
        texts = [d.text for d in documents] + ([d.text for d in held] if kind == "characters" else [])
        tokenizer = learn(kind, texts, limit).tokenizer
    tokenizer.save(folder)
    bos = tokenizer.special_id("<|bos|>")
    for name, part in (("train", documents), ("validation", held)):
        shards.write_shards(
            stage.folder / name, part,
            lambda texts: [np.asarray(ids) for ids in tokenizer.encode_batch(texts)], bos, tokenizer.vocab_size,
        )  # fmt: skip
        for document in part:
            stage.licences[document.licence] = stage.licences.get(document.licence, 0) + 1


def _split(documents: list[Document], fraction: float) -> tuple[list[Document], list[Document]]:
    """The end of the text, cut in the middle of a document where it falls there (one file of text is one document)."""
    total = sum(len(document.text) for document in documents)
    left = total - int(total * fraction)
    train, held = [], []
    for document in documents:
        if left >= len(document.text):
            train.append(document)
        elif left <= 0:
            held.append(document)
        else:
            for text, part, where in (
                (document.text[:left], train, "start"),
                (document.text[left:], held, "end"),
            ):
                part.append(
                    Document(f"{document.id}#{where}", text, document.source, document.licence, document.meta)
                )
        left -= len(document.text)
    return train, held
