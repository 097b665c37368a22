"""Which piece of which document lies where: rows of one length cut from token shards, as three small arrays.

stream    documents one behind the other in the given order, cut every `length` tokens; only the last row is not full
best-fit  no document is cut that fits into a row; longer ones are cut into whole rows and a rest. Pieces are laid into
          the fullest row that still has room, longest first: Ding et al. 2024, "Fewer Truncations Improve Language
          Modeling" (arXiv:2404.10830), section 3. Deviation: within windows of documents, so that memory is bounded
          and a given order is kept roughly.
pad       every document begins a row; longer ones go on in the next

A plan holds every token of every document of the order exactly once per occurrence: nothing is cut off. To train on T
targets per row take length = T + 1; the last token of a row is only a target, the first of the next only an input.

PREFIX.NAME.pieces.npy  one row per piece: document number, tokens, token offset in the shard
PREFIX.NAME.rows.npy    where the pieces of every row begin, int64 [num_rows + 1]
PREFIX.NAME.plan.json   mode, length, counts, digest of the shard; written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ownlm.data.pack.best_fit import best_fit
from ownlm.data.shards import Shards
from ownlm.errors import ArtifactError, UsageError
from ownlm.runtime.files import open_atomic, read_json, write_json

PIECE = np.dtype([("document", "<u4"), ("length", "<u4"), ("offset", "<i8")])
Mode = Literal["stream", "best-fit", "pad"]
WINDOW = 1 << 17
"""Documents that best-fit looks at together; 60 bytes each while it works."""
_FIX = "pack the shard again"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What PREFIX.NAME.plan.json holds."""

    version: int
    mode: str
    length: int  # tokens per row
    num_rows: int
    num_tokens: int  # without padding, repeats included
    num_documents: int  # occurrences in the order
    documents_cut: int  # occurrences in more than one row
    padding_share: float  # of num_rows * length
    shard_digest: str  # of the tokens and index that the plan is of
    rows_digest: str  # SHA-256 of the pieces and of where rows begin


@dataclass(frozen=True, slots=True)
class Plan:
    facts: PlanFacts
    pieces: np.ndarray  # PIECE [num_pieces]
    row_starts: np.ndarray  # int64 [num_rows + 1]


def plan_rows(shards: Shards, mode: Mode, length: int, order: np.ndarray | None = None) -> Plan:
    """Lay the documents into rows of `length` tokens; 16 bytes per piece in memory.

    `order` holds document numbers, a document as often as it is to be read; without it documents come as they are
    stored, each as often as its `repeat` says, all of one round before the next. Raises UsageError for a length below
    2 or an order that names a document which the shard does not have.
    """
    if length < 2:
        raise UsageError(
            "A row needs at least 2 tokens.", f"length {length}", "give the context length plus 1"
        )
    if order is None:
        order = in_rounds(shards.repeats)
    if len(order) and not 0 <= int(order.min()) <= int(order.max()) < shards.num_documents:
        raise UsageError(
            "The order names a document that the shard does not have.",
            f"numbers {order.min()} to {order.max()}, {shards.num_documents} documents",
            "make the order from this shard",
        )
    laid = {"stream": _stream, "best-fit": _best_fit, "pad": _pad}.get(mode)
    if laid is None:
        raise UsageError("There is no such packing.", f"mode {mode!r}", "stream, best-fit or pad")
    lengths = shards.document_lengths[order]
    pieces, row_starts = laid(np.asarray(order, np.int64), lengths, shards.document_starts[order], length)
    num_rows, tokens = len(row_starts) - 1, int(lengths.sum())
    cut = _num_cut(lengths, length, mode)
    padding = 1 - tokens / (num_rows * length) if num_rows else 0.0
    laid_out = hashlib.sha256(pieces.tobytes() + row_starts.astype("<i8").tobytes()).hexdigest()
    facts = PlanFacts(
        1, mode, length, num_rows, tokens, len(order), cut, round(padding, 9), shards.digest, laid_out
    )
    return Plan(facts, pieces, row_starts)


def in_rounds(repeats: np.ndarray) -> np.ndarray:
    """Document numbers in stored order, round after round: the first round has all, the second those read twice."""
    most = int(repeats.max()) if len(repeats) else 0
    return np.concatenate([np.flatnonzero(repeats > n) for n in range(most)] or [np.zeros(0, np.int64)])


def _chunks(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents cut every `length` tokens: (document, start within it, tokens) of every chunk."""
    number = -(-lengths // length)
    document = np.repeat(np.arange(len(lengths)), number)
    start = (np.arange(len(document)) - np.repeat(np.cumsum(number) - number, number)) * length
    return document, start, np.minimum(lengths[document] - start, length)


def _pieces(documents: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    pieces = np.empty(len(documents), PIECE)
    pieces["document"], pieces["length"], pieces["offset"] = documents, lengths, offsets
    return pieces


def _stream(
    order: np.ndarray, lengths: np.ndarray, starts: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut where a document or a row ends: the union of both sets of places."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.unique(np.concatenate((ends - lengths, np.arange(0, total, length))))
    cuts = cuts[cuts < total]
    document = np.searchsorted(ends, cuts, side="right")
    pieces = _pieces(
        order[document], np.diff(cuts, append=total), starts[document] + cuts - (ends - lengths)[document]
    )
    return pieces, np.append(np.searchsorted(cuts, np.arange(0, total, length)), len(cuts)).astype(np.int64)


def _pad(
    order: np.ndarray, lengths: np.ndarray, starts: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    document, start, size = _chunks(lengths, length)
    return _pieces(order[document], size, starts[document] + start), np.arange(len(document) + 1)


def _best_fit(
    order: np.ndarray, lengths: np.ndarray, starts: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows about in the order of their first document; the pieces of one document always in its own order."""
    pieces, row_starts, rows = [np.zeros(0, PIECE)], [np.zeros(1, np.int64)], 0
    for first in range(0, len(order), WINDOW):
        part = slice(first, first + WINDOW)
        document, start, size = _chunks(lengths[part], length)
        row = _in_document_order(best_fit(size, length), document, size == length)
        sequence = np.argsort(row, kind="stable")
        begins = np.flatnonzero(np.diff(row[sequence], prepend=-1))
        pieces.append(
            _pieces(
                order[part][document][sequence], size[sequence], (starts[part][document] + start)[sequence]
            )
        )
        row_starts.append(rows + np.append(begins[1:], len(row)))
        rows += len(row)
    return np.concatenate(pieces), np.concatenate(row_starts).astype(np.int64)


def _in_document_order(row: np.ndarray, document: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Rows numbered anew: by their first document, and the full rows of a cut document before the row of its rest.

    `row`, `document`, `full` (the piece fills its row) are those of every piece.
    """
    num_rows = int(row.max()) + 1 if len(row) else 0
    first = np.full(num_rows, len(document))
    np.minimum.at(first, row, document)
    key = first.copy()
    rest_row = np.full(int(document.max()) + 1 if len(row) else 0, -1)
    rest_row[document[~full]] = row[~full]
    alone = row[full]  # rows of one piece, free to stand anywhere
    rest = rest_row[document[full]]
    key[alone] = np.where(rest >= 0, first[rest], document[full])
    has_rest = np.ones(num_rows, bool)
    has_rest[alone] = False
    piece = np.zeros(num_rows, np.int64)
    piece[alone] = np.flatnonzero(full)
    rank = np.empty(num_rows, np.int64)
    rank[np.lexsort((piece, has_rest, key))] = np.arange(num_rows)
    return np.asarray(rank[row])


def _num_cut(lengths: np.ndarray, length: int, mode: Mode) -> int:
    """Occurrences that lie in more than one row."""
    if mode != "stream":
        return int((lengths > length).sum())
    ends = np.cumsum(lengths)
    return int(((ends - lengths) // length != (ends - 1) // length).sum())


def _path(prefix: Path | str, name: str, ending: str) -> Path:
    prefix = Path(prefix)
    return prefix.with_name(f"{prefix.name}.{name}.{ending}")


def save_plan(prefix: Path | str, name: str, plan: Plan) -> None:
    """Beside the shard PREFIX, under a name of its own."""
    for ending, array in (("pieces.npy", plan.pieces), ("rows.npy", plan.row_starts)):
        with open_atomic(_path(prefix, name, ending)) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
    write_json(_path(prefix, name, "plan.json"), asdict(plan.facts))


def load_plan(prefix: Path | str, name: str) -> Plan:
    """Memory-mapped. Raises ArtifactError when a part is missing or damaged; `PackedShards` checks whether it is of its shard."""
    path = _path(prefix, name, "plan.json")
    try:
        facts = PlanFacts(**read_json(path))
        # an empty array cannot be mapped
        pieces = np.load(
            _path(prefix, name, "pieces.npy"), mmap_mode="r" if facts.num_tokens else None, allow_pickle=False
        )
        rows = np.load(_path(prefix, name, "rows.npy"), mmap_mode="r", allow_pickle=False)
    except (TypeError, OSError, ValueError, EOFError) as error:
        raise ArtifactError("A packing plan is missing or damaged.", f"{path}: {error}", _FIX) from error
    if facts.version != 1 or pieces.dtype != PIECE or rows.shape != (facts.num_rows + 1,):
        raise ArtifactError("A packing plan does not fit its header.", f"{path}: {facts}", _FIX)
    return Plan(facts, pieces, rows)


def occurrences(plan: Plan) -> Iterator[tuple[int, int, int]]:
    """(document number, token offset, tokens) of every piece, row after row: for tests and reports."""
    for piece in plan.pieces:
        yield int(piece["document"]), int(piece["offset"]), int(piece["length"])
