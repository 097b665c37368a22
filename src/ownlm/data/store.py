"""Documents on disk: JSON lines in zstandard (`.jsonl.zst`), written whole or not at all, read as a stream."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from ownlm.data.compressed import Members
from ownlm.errors import ArtifactError
from ownlm.records import Document
from ownlm.runtime.files import open_atomic

LEVEL = 3  # zstd level: 4-5x smaller text at hundreds of MB/s
CHECKSUMMED = zstandard.ZstdCompressionParameters.from_level(LEVEL, write_checksum=True)

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(document: Document) -> dict[str, Any]:
    row: dict[str, Any] = {"id": document.id, "source": document.source, "licence": document.licence}
    if document.meta:
        row["meta"] = dict(document.meta)
    row["text"] = document.text
    return row


def to_line(document: Document) -> bytes:
    """The document as one line of JSON, with the hash of its text: 128 bits of BLAKE2b, which names this very content."""
    digest = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return _ENCODE({"hash": digest, **to_json(document)}).encode("utf-8") + b"\n"


def write_rows(path: Path | str, rows: Iterable[dict[str, Any]]) -> int:
    """Write JSON objects as `.jsonl.zst`; returns their number. The same rows give the same bytes."""
    count = 0
    with open_atomic(path) as file:
        compressor = zstandard.ZstdCompressor(compression_params=CHECKSUMMED)
        with compressor.stream_writer(file, closefd=False) as writer:
            for row in rows:
                writer.write(_ENCODE(row).encode("utf-8") + b"\n")
                count += 1
    return count


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Raises ArtifactError when the file is missing, damaged or cut short."""
    try:
        with open(path, "rb") as file:
            empty = True
            for line in io.BufferedReader(Members(file, "zst"), 1 << 20):
                empty = False
                yield json.loads(line)
            if empty and Path(path).stat().st_size == 0:
                raise ArtifactError("A document file is empty.", str(path), _FIX)
    except FileNotFoundError as error:
        raise ArtifactError("A document file is missing.", str(path), _FIX) from error
    except EOFError as error:
        raise ArtifactError("A document file is cut short.", str(path), _FIX) from error
    except (zstandard.ZstdError, ValueError) as error:
        raise ArtifactError("A document file is damaged.", f"{path}: {error}", _FIX) from error


_FIX = "run `ownlm verify` on the folder, then build it again"


def write_documents(path: Path | str, documents: Iterable[Document]) -> int:
    """Returns the number of documents written."""
    return write_rows(path, map(to_json, documents))


def read_documents(path: Path | str) -> Iterator[Document]:
    for row in read_rows(path):
        try:
            yield Document(row["id"], row["text"], row["source"], row["licence"], row.get("meta", {}))
        except KeyError as error:
            raise ArtifactError("A document lacks a field.", f"{path}: {error}", _FIX) from error
