"""Evaluation items as the texts that must not occur in training data: every string of every row.

    .jsonl .ndjson   one item per line               "test item 17" is line 17
    .json            a list: one item per element    "test item 17"; else one item per innermost object: its path
    .csv .tsv        one item per row after the head "test item 17" is the 17th row after the head
    .txt             one item per paragraph          "test item 17"

each also as .gz or .zst. A set is called by its file name without suffixes; in a folder by its path below it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ownlm.data.compressed import opened
from ownlm.data.formats import COMPRESSIONS, split_suffix
from ownlm.data.limits import Limits, Unusable
from ownlm.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
MOST_FILE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Item:
    name: str  # "gsm8k/test item 17"
    pieces: tuple[str, ...]  # its strings, in order


@dataclass(frozen=True, slots=True)
class ItemFile:
    path: Path
    set_name: str
    suffix: str
    compression: str


def files(paths: Sequence[Path]) -> tuple[list[ItemFile], list[Path]]:
    """The files of evaluation items under `paths`, sorted; and the files of folders that are none by their name.

    Raises DataError for a path that does not exist and for a named file of another format.
    """
    found: list[ItemFile] = []
    others: list[Path] = []
    for path in paths:
        if path.is_dir():
            for inner in sorted(entry for entry in path.rglob("*") if entry.is_file()):
                item = _item_file(inner, path)
                if item is None:
                    others.append(inner)
                else:
                    found.append(item)
            continue
        item = _item_file(path, path.parent)
        if not path.is_file() or item is None:
            what = "is not a format of evaluation items" if path.is_file() else "does not exist"
            raise DataError(
                f"A file of evaluation items {what}.",
                str(path),
                f"give {' '.join(SUFFIXES)}, also .gz or .zst",
            )
        found.append(item)
    return found, others


def items(file: ItemFile) -> Iterator[Item]:
    """The items of one file. Raises DataError when it is damaged: an item that is not read is not protected."""
    read = {
        ".jsonl": _lines,
        ".ndjson": _lines,
        ".json": _json,
        ".csv": _table,
        ".tsv": _table,
        ".txt": _plain,
    }
    limits = Limits(file_bytes=MOST_FILE_BYTES)
    try:
        with open(file.path, "rb") as raw:
            with opened(raw, file.compression, limits, MOST_FILE_BYTES) as plain:
                for name, pieces in read[file.suffix](plain, file.suffix):
                    yield Item(f"{file.set_name} item {name}", pieces)
    except (Unusable, ValueError, RecursionError, csv.Error, OSError) as error:
        raise DataError(
            "A file of evaluation items cannot be read.",
            f"{file.path}: {error or type(error).__name__}",
            "repair or remove it: items that are not read are not protected",
        ) from error


def _item_file(path: Path, root: Path) -> ItemFile | None:
    stem, suffix = split_suffix(path.name)
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        stem, suffix = split_suffix(stem)
    if suffix not in SUFFIXES:
        return None
    folder = path.parent.relative_to(root).as_posix()
    return ItemFile(path, stem if folder == "." else f"{folder}/{stem}", suffix, compression)


def _lines(file: IO[bytes], suffix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield str(number), tuple(strings(json.loads(line.decode("utf-8-sig"))))


def _json(file: IO[bytes], suffix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    tree = json.loads(file.read(MOST_FILE_BYTES).decode("utf-8-sig"))
    if isinstance(tree, list):
        for number, element in enumerate(tree, 1):
            yield str(number), tuple(strings(element))
        return
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        place, node = waiting.pop()
        children = (
            node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        )
        own: list[str] = []
        inner: list[tuple[str, Any]] = []
        for key, value in children:
            if isinstance(value, str):
                own.append(value)
            elif isinstance(value, list) and all(isinstance(one, str) for one in value):
                own += value
            elif isinstance(value, (dict, list)):
                inner.append((f"{place}.{key}" if isinstance(key, str) else f"{place}[{key}]", value))
        if own:
            yield place.removeprefix(".") or "1", tuple(own)
        waiting += reversed(inner)


def _table(file: IO[bytes], suffix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter="\t" if suffix == ".tsv" else ",")
    for number, row in enumerate(reader):
        if number and row:
            yield str(number), tuple(row)


def _plain(file: IO[bytes], suffix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    text = file.read(MOST_FILE_BYTES).decode("utf-8-sig")
    paragraphs = [part.strip() for part in text.replace("\r\n", "\n").split("\n\n") if part.strip()]
    for number, paragraph in enumerate(paragraphs, 1):
        yield str(number), (paragraph,)


def strings(tree: Any) -> Iterator[str]:
    """Every string value of a JSON tree, in order; keys are not text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            waiting += reversed(list(node.values()))
        elif isinstance(node, list):
            waiting += reversed(node)
