"""Token shards: all documents as one array of ids on disk, with an index that leads every offset to its document.

PREFIX.bin              ids, little-endian uint16 (vocabulary up to 65,536) or uint32; each document is BOS + its ids
PREFIX.index.npy        one row per document: token start, UTF-8 bytes of its text, byte offset of its line
PREFIX.documents.jsonl  one line per document: id, source, licence
PREFIX.index.json       counts, dtype, vocabulary size; written last, so its presence means the rest is whole
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.errors import ArtifactError
from ownlm.records import Document
from ownlm.runtime.files import open_atomic, read_json, write_json

ROW = np.dtype([("token_start", "<i8"), ("num_bytes", "<i8"), ("line_start", "<i8")])
BATCH_CHARACTERS = 1 << 20
BATCH_DOCUMENTS = 1024
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """What PREFIX.index.json holds."""

    version: int
    dtype: str
    vocab_size: int
    bos_id: int
    num_documents: int
    num_tokens: int  # BOS of every document included
    num_bytes: int  # UTF-8 bytes of the text behind the tokens


def _part(prefix: Path | str, ending: str) -> Path:
    prefix = Path(prefix)
    return prefix.with_name(prefix.name + ending)


def write_shards(
    path_prefix: Path | str,
    documents: Iterable[Document],
    encode_batch: Callable[[list[str]], list[np.ndarray]],
    bos_id: int,
    vocab_size: int,
) -> ShardInfo:
    """Encode and write all documents, in order, in one pass; memory is one batch plus 24 bytes per document.

    Raises ArtifactError when the encoder gives an id outside the vocabulary or another number of results.
    """
    dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
    rows: list[tuple[int, int, int]] = []
    num_tokens = num_bytes = line_start = 0
    with (
        open_atomic(_part(path_prefix, ".bin")) as ids_file,
        open_atomic(_part(path_prefix, ".documents.jsonl")) as lines_file,
    ):
        for batch in _batches(documents):
            encoded = encode_batch([document.text for document in batch])
            _check(batch, encoded, vocab_size)
            for document, ids in zip(batch, encoded, strict=True):
                size = len(document.text.encode("utf-8"))
                rows.append((num_tokens, size, line_start))
                ids_file.write(dtype.type(bos_id).tobytes())
                ids_file.write(np.asarray(ids).astype(dtype).tobytes())
                line = json.dumps([document.id, document.source, document.licence], ensure_ascii=False) + "\n"
                line_start += lines_file.write(line.encode("utf-8"))
                num_tokens += 1 + len(ids)
                num_bytes += size
    with open_atomic(_part(path_prefix, ".index.npy")) as file:
        np.lib.format.write_array(file, np.array(rows, dtype=ROW), allow_pickle=False)
    info = ShardInfo(_VERSION, dtype.name, vocab_size, bos_id, len(rows), num_tokens, num_bytes)
    write_json(_part(path_prefix, ".index.json"), asdict(info))
    return info


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _check(batch: list[Document], encoded: list[np.ndarray], vocab_size: int) -> None:
    if len(encoded) != len(batch):
        raise ArtifactError("The tokenizer lost a text.", f"{len(batch)} texts, {len(encoded)} results", "")
    for document, ids in zip(batch, encoded, strict=True):
        if len(ids) and not 0 <= int(np.min(ids)) <= int(np.max(ids)) < vocab_size:
            raise ArtifactError(
                "A token id is outside the vocabulary.",
                f"{document.source}: ids {np.min(ids)} to {np.max(ids)}, vocabulary {vocab_size}",
                "use the tokenizer that this vocabulary size belongs to",
            )


class Shards:
    """Read side: memory-mapped ids and index. Raises ArtifactError when a part is missing or of the wrong size."""

    def __init__(self, path_prefix: Path | str) -> None:
        facts = read_json(_part(path_prefix, ".index.json"))
        try:
            self.info = ShardInfo(**facts)
        except TypeError as error:
            raise ArtifactError("A shard index has other fields.", f"{path_prefix}: {error}", _FIX) from error
        if self.info.version != _VERSION or self.info.dtype not in ("uint16", "uint32"):
            raise ArtifactError("A shard index is of an unknown version.", str(facts)[:200], _FIX)
        dtype = np.dtype(self.info.dtype).newbyteorder("<")
        path = _part(path_prefix, ".bin")
        wanted = self.info.num_tokens * dtype.itemsize
        if not path.is_file() or path.stat().st_size != wanted:
            size = path.stat().st_size if path.is_file() else 0
            raise ArtifactError(
                "A token shard has the wrong size.", f"{path}: {size}, not {wanted} bytes", _FIX
            )
        # np.memmap refuses an empty file
        self.tokens: np.ndarray = (
            np.memmap(path, dtype, "r") if wanted else np.zeros(0, dtype)
        )  # [num_tokens]
        self._rows = _load_rows(_part(path_prefix, ".index.npy"), self.info.num_documents)
        self._lines = _part(path_prefix, ".documents.jsonl")
        self.document_starts: np.ndarray = self._rows["token_start"]  # int64 [num_documents]
        self.document_bytes: np.ndarray = self._rows["num_bytes"]  # int64 [num_documents]

    @property
    def num_tokens(self) -> int:
        return self.info.num_tokens

    @property
    def num_bytes(self) -> int:
        return self.info.num_bytes

    @property
    def num_documents(self) -> int:
        return self.info.num_documents

    def document_at(self, offset: int) -> tuple[str, str]:
        """(id, source) of the document that the token at `offset` belongs to; IndexError outside."""
        if not 0 <= offset < self.num_tokens:
            raise IndexError(f"token offset {offset} is outside 0..{self.num_tokens - 1}")
        row = self.document(int(np.searchsorted(self.document_starts, offset, side="right")) - 1)
        return row[0], row[1]

    def document(self, number: int) -> tuple[str, str, str]:
        """(id, source, licence) of the document with that number."""
        with open(self._lines, "rb") as file:
            file.seek(int(self._rows["line_start"][number]))
            row: list[Any] = json.loads(file.readline())
        return row[0], row[1], row[2]

    def document_tokens(self, number: int) -> np.ndarray:
        """The ids of one document, BOS included."""
        last = number + 1 == self.num_documents
        end = self.num_tokens if last else int(self.document_starts[number + 1])
        return self.tokens[int(self.document_starts[number]) : end]


_FIX = "run `ownlm verify` on the folder, then build it again"


def _load_rows(path: Path, count: int) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r" if count else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError("A shard index is missing or damaged.", f"{path}: {error}", _FIX) from error
    if rows.dtype != ROW or rows.shape != (count,):
        raise ArtifactError(
            "A shard index does not fit its header.", f"{path}: {rows.shape} {rows.dtype}", _FIX
        )
    return rows
