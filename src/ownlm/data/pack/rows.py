"""Packed rows of a shard: tokens with the segment and the position of each, and the documents behind every row.

Letters: B rows, L tokens of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ownlm.data.pack.plan import Plan, load_plan
from ownlm.data.shards import Shards
from ownlm.errors import ArtifactError


@dataclass(frozen=True)
class Rows:
    """Rows as a training step takes them. A segment is one piece of one document within a row.

    What is known of every token is spread out of `pieces` when it is asked for first: whoever needs only tokens does
    not pay for the rest.
    """

    tokens: np.ndarray  # [B,L] uint16 or uint32, as in the shard
    pieces: np.ndarray  # [num_pieces,4] int64: place in the B * L tokens, tokens, document number, segment

    @cached_property
    def segments(self) -> np.ndarray:
        """[B,L] int32: 0, 1, 2 ... within the row; -1 where the row is padded."""
        return self._spread(3, np.int32)

    @cached_property
    def documents(self) -> np.ndarray:
        """[B,L] int64: number of the document in its shard; -1 where the row is padded."""
        return self._spread(2, np.int64)

    @cached_property
    def positions(self) -> np.ndarray:
        """[B,L] int32: place within the segment; 0 where the row is padded."""
        places = np.zeros(self.tokens.size, np.int32)
        ramp = np.arange(self.tokens.shape[1], dtype=np.int32)
        for at, size, _, _ in self.pieces.tolist():
            places[at : at + size] = ramp[:size]
        return places.reshape(self.tokens.shape)

    def _spread(self, column: int, kind: type) -> np.ndarray:
        spread: np.ndarray = np.full(self.tokens.size, -1, kind)
        for piece in self.pieces.tolist():
            spread[piece[0] : piece[0] + piece[1]] = piece[column]
        return spread.reshape(self.tokens.shape)

    def cu_seqlens(self) -> np.ndarray:
        """Where segments begin in the rows laid end to end, and the end: int32, as variable-length attention takes it.

        The padding behind a row is a segment of its own, so that all B * L tokens are covered.
        """
        flat = self.segments.ravel().astype(np.int64)
        begins = np.flatnonzero(
            (np.diff(flat, prepend=-2) != 0) | (np.arange(len(flat)) % self.tokens.shape[1] == 0)
        )
        return np.append(begins, len(flat)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Origin:
    """One document that a row has tokens of."""

    id: str
    source: str
    licence: str
    start: int  # of its tokens in the row
    end: int
    document_start: int  # of the same tokens in the document, BOS counted


class PackedShards:
    """A shard and one of its plans: any row in any order, O(1), from memory-mapped files.

    Raises ArtifactError when the plan is of another shard.
    """

    def __init__(self, shards: Shards, plan: Plan, pad_id: int | None = None) -> None:
        if plan.facts.shard_digest != shards.digest:
            raise ArtifactError(
                "The packing plan is of another shard.",
                f"{shards.prefix}: {shards.digest[:12]}, the plan is of {plan.facts.shard_digest[:12]}",
                "pack the shard again",
            )
        self.shards, self.plan = shards, plan
        # the same mapped memory without the slow indexing of np.memmap
        self._tokens, self._pieces = np.asarray(shards.tokens), np.asarray(plan.pieces)
        self._row_starts = np.asarray(plan.row_starts)
        info = shards.info
        self.pad_id = (
            pad_id if pad_id is not None else info.eos_id if info.eos_id is not None else info.bos_id
        )

    @staticmethod
    def load(prefix: Path | str, name: str, pad_id: int | None = None) -> PackedShards:
        """The plan NAME of the shard PREFIX. `pad_id` fills rows that are not full; EOS, else BOS, without it."""
        return PackedShards(Shards(prefix), load_plan(prefix, name), pad_id)

    @property
    def num_rows(self) -> int:
        return self.plan.facts.num_rows

    @property
    def length(self) -> int:
        return self.plan.facts.length

    def rows(self, numbers: np.ndarray) -> Rows:
        """The rows with these numbers, int64 [B]; IndexError outside 0 .. num_rows - 1."""
        tokens = np.empty((len(numbers), self.length), self._tokens.dtype)
        return Rows(tokens, self.lay(tokens, np.arange(len(numbers)), numbers))

    def lay(self, tokens: np.ndarray, places: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Write row numbers[i] to tokens[places[i]], padding included; the pieces, as `Rows` wants them."""
        numbers = np.asarray(numbers, np.int64)
        if not len(numbers):
            return np.zeros((0, 4), np.int64)
        if not 0 <= int(numbers.min()) <= int(numbers.max()) < self.num_rows:
            raise IndexError(f"rows {numbers.min()} to {numbers.max()} of {self.num_rows}")
        first = self._row_starts[numbers]
        count = self._row_starts[numbers + 1] - first  # [B], each at least 1
        begin = np.cumsum(count) - count  # [B] the first piece of every row among all
        every = np.arange(int(count.sum()))
        pieces = self._pieces[every + np.repeat(first - begin, count)]
        size = pieces["length"].astype(np.int64)
        before = np.cumsum(size) - size
        at = before + np.repeat(places * self.length - before[begin], count)
        flat, source = tokens.reshape(-1), self._tokens
        for place, length, offset in zip(at.tolist(), size.tolist(), pieces["offset"].tolist(), strict=True):
            flat[place : place + length] = source[offset : offset + length]
        filled = np.add.reduceat(size, begin)
        for row in np.flatnonzero(filled < self.length).tolist():
            tokens[places[row], filled[row] :] = self.pad_id
        return np.stack((at, size, pieces["document"], every - np.repeat(begin, count)), axis=1).astype(
            np.int64
        )

    def origins(self, number: int) -> list[Origin]:
        """The documents of a row, in its order."""
        first, last = int(self.plan.row_starts[number]), int(self.plan.row_starts[number + 1])
        found, at = [], 0
        for piece in self.plan.pieces[first:last]:
            document, size = int(piece["document"]), int(piece["length"])
            begin = int(piece["offset"]) - int(self.shards.document_starts[document])
            found.append(Origin(*self.shards.document(document), at, at + size, begin))
            at += size
        return found
