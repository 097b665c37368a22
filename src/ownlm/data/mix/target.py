"""The texts of a small example file: what a step is to steer towards."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from ownlm.errors import DataError, UsageError


def read_texts(path: Path) -> Iterator[str]:
    """The texts of .txt or .md (one text), .jsonl (objects with "text"), each also with .gz behind it.

    Raises UsageError for another ending or a missing file, DataError for a row without a text.
    """
    if not path.is_file():
        raise UsageError("The file does not exist.", str(path), "give a .txt or .jsonl file")
    name = path.name.removesuffix(".gz")
    if not name.endswith((".txt", ".md", ".jsonl")):
        raise UsageError(
            "The ending is not one of .txt, .md, .jsonl (and .gz).", str(path), "convert the file"
        )
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            if not name.endswith(".jsonl"):
                yield file.read()
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _text(line, f"{path}#{number}")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            "The file cannot be read.", f"{path}: {error}", "give it as UTF-8, or whole"
        ) from error


def _text(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError("A row is not JSON.", f"{where}: {error}", "one object per line") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataError("A row has no text.", where, 'every row needs "text": a string')
    text: str = row["text"]
    return text
