"""Token shards: all documents as one array of ids on disk, with an index that leads every offset to its document.

PREFIX.bin              ids, little-endian uint16 (vocabulary up to 65,536) or uint32; each document is BOS + its ids,
                        and EOS where one was asked for
PREFIX.index.npy        one row per document: token start, UTF-8 bytes of its text, byte offset of its line, and how
                        often the document is to be read per epoch (`meta["repeat"]`, which `mix` sets; 1 without it)
PREFIX.documents.jsonl  one line per document: id, source, licence, collection, kept meta
PREFIX.index.json       counts, dtype, vocabulary size; written last, so its presence means the rest is whole

A repeated document lies on disk once: `data.mix.order` gives it as many places in an epoch as it is to be read.
Version 1 (neither EOS, repeats, collections nor meta) is read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.errors import ArtifactError, DataError
from ownlm.records import Document
from ownlm.runtime.files import open_atomic, read_json, sha256_file, sha256_json, write_json

ROW_1 = np.dtype([("token_start", "<i8"), ("num_bytes", "<i8"), ("line_start", "<i8")])
ROW = np.dtype([*ROW_1.descr, ("repeat", "<i8")])
BATCH_CHARACTERS = 1 << 20
BATCH_DOCUMENTS = 1024
_VERSION = 2
_ROWS = {1: ROW_1, 2: ROW}


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """What PREFIX.index.json holds."""

    version: int
    dtype: str
    vocab_size: int
    bos_id: int
    num_documents: int
    num_tokens: int  # BOS and EOS of every document included, repeats not
    num_bytes: int  # UTF-8 bytes of the text behind the tokens
    eos_id: int | None = None  # behind every document; None: none
    tokens_sha256: str = ""  # of PREFIX.bin; not in version 1


def _part(prefix: Path | str, ending: str) -> Path:
    prefix = Path(prefix)
    return prefix.with_name(prefix.name + ending)


def write_shards(
    path_prefix: Path | str,
    documents: Iterable[Document],
    encode_batch: Callable[[list[str]], list[np.ndarray]],
    bos_id: int,
    vocab_size: int,
    *,
    eos_id: int | None = None,
    keep_meta: Sequence[str] = (),
) -> ShardInfo:
    """Encode and write all documents, in order, in one pass; memory is one batch plus 32 bytes per document.

    `keep_meta` names the keys of a document's meta that its line keeps, e.g. the scores that an order sorts by.
    Raises ArtifactError when the encoder gives an id outside the vocabulary or another number of results, DataError
    when a document's meta["repeat"] is not a positive whole number.
    """
    dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
    begin, digest = dtype.type(bos_id).tobytes(), hashlib.sha256()
    end = b"" if eos_id is None else dtype.type(eos_id).tobytes()
    rows: list[tuple[int, int, int, int]] = []
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
                rows.append((num_tokens, size, line_start, repeats(document)))
                data = begin + np.asarray(ids).astype(dtype).tobytes() + end
                ids_file.write(data)
                digest.update(data)
                line_start += lines_file.write(_line(document, keep_meta))
                num_tokens += 1 + len(ids) + (eos_id is not None)
                num_bytes += size
    with open_atomic(_part(path_prefix, ".index.npy")) as file:
        np.lib.format.write_array(file, np.array(rows, dtype=ROW), allow_pickle=False)
    info = ShardInfo(
        _VERSION, dtype.name, vocab_size, bos_id, len(rows), num_tokens, num_bytes, eos_id, digest.hexdigest()
    )
    write_json(_part(path_prefix, ".index.json"), asdict(info))
    return info


def repeats(document: Document) -> int:
    """How often a document is to be read per epoch: its meta["repeat"], 1 without it; DataError when that is no count."""
    value = document.meta.get("repeat", 1)
    if type(value) is not int or value < 1:
        raise DataError(
            "A document's repeat is not a positive whole number.",
            f'{document.source}: meta["repeat"] is {value!r}',
            "let the step `mix` set it, or leave it out",
        )
    return value


def _line(document: Document, keep_meta: Sequence[str]) -> bytes:
    kept = {key: document.meta[key] for key in keep_meta if key in document.meta}
    collection = str(document.meta.get("collection", ""))
    row = [document.id, document.source, document.licence, collection, kept]
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")


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
        if self.info.version not in _ROWS or self.info.dtype not in ("uint16", "uint32"):
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
        self._rows = _load_rows(
            _part(path_prefix, ".index.npy"), self.info.num_documents, _ROWS[self.info.version]
        )
        self._lines = _part(path_prefix, ".documents.jsonl")
        self.document_starts: np.ndarray = self._rows["token_start"]  # int64 [num_documents]
        self.document_bytes: np.ndarray = self._rows["num_bytes"]  # int64 [num_documents]
        self.prefix = Path(path_prefix)

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

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the tokens and the index: what a plan, an order or a saved position belongs to."""
        return sha256_json([self.info.tokens_sha256, sha256_file(_part(self.prefix, ".index.npy"))])

    @property
    def document_lengths(self) -> np.ndarray:
        """Tokens of every document, BOS and EOS included, int64 [num_documents]."""
        return np.diff(self.document_starts, append=self.num_tokens)

    @property
    def repeats(self) -> np.ndarray:
        """How often every document is to be read per epoch, int64 [num_documents]."""
        if self.info.version == 1:
            return np.ones(self.num_documents, np.int64)
        return np.asarray(self._rows["repeat"], np.int64)

    def document(self, number: int) -> tuple[str, str, str]:
        """(id, source, licence) of the document with that number."""
        row = self._line(number)
        return row[0], row[1], row[2]

    def facts(self, number: int) -> tuple[str, Mapping[str, Any]]:
        """(collection, kept meta) of the document with that number; ("", {}) in a version 1 shard."""
        row = self._line(number)
        return (row[3], row[4]) if len(row) > 3 else ("", {})

    def lines(self) -> Iterator[tuple[str, str, str, str, Mapping[str, Any]]]:
        """(id, source, licence, collection, kept meta) of every document, in order."""
        with open(self._lines, "rb") as file:
            for line in file:
                row: list[Any] = json.loads(line)
                yield row[0], row[1], row[2], *((row[3], row[4]) if len(row) > 3 else ("", {}))

    def _line(self, number: int) -> list[Any]:
        with open(self._lines, "rb") as file:
            file.seek(int(self._rows["line_start"][number]))
            row: list[Any] = json.loads(file.readline())
        return row

    def document_tokens(self, number: int) -> np.ndarray:
        """The ids of one document, BOS and EOS included."""
        last = number + 1 == self.num_documents
        end = self.num_tokens if last else int(self.document_starts[number + 1])
        return self.tokens[int(self.document_starts[number]) : end]


_FIX = "run `ownlm verify` on the folder, then build it again"


def _load_rows(path: Path, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r" if count else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError("A shard index is missing or damaged.", f"{path}: {error}", _FIX) from error
    if rows.dtype != dtype or rows.shape != (count,):
        raise ArtifactError(
            "A shard index does not fit its header.", f"{path}: {rows.shape} {rows.dtype}", _FIX
        )
    return rows
