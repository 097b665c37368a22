"""Several packed shard sets as one endless stream of batches: weighted, shuffled, and resumable to the sample.

Everything is a pure function of the sample number g = 0, 1, 2 ...: `Schedule` gives its source and its place k in that
source, epoch and place in the epoch are divmod(k, rows of the source), and a permutation of that epoch gives the row.
So there is no state but g. A run that is killed goes on at g; with another number of workers or ranks, or another
batch size, the order of samples stays the same and is only dealt out differently.

    rank r of R, batch of B rows:   step t takes samples first + (t R + r) B ... + B
    worker w of W of a rank:        steps t with t mod W = w; taken in turn, the workers give the rank's order

Shuffling: "full" permutes all rows of an epoch; a number n permutes within runs of n rows, which is what a shuffle
buffer of n rows does, but can be resumed without its contents and reads files nearly in order; 0 keeps the plan's
order (for curricula). Each epoch has another permutation, except with 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ownlm.data.pack.rows import Origin, PackedShards, Rows
from ownlm.data.stream.permutation import Permutation
from ownlm.data.stream.schedule import BLOCK, Schedule
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.runtime.files import sha256_json

MANY_EPOCHS = 4
"""Beyond this, repeats add little: Muennighoff et al. 2023 (arXiv:2305.16264)."""
_FIX = "resume with the sources, weights and seed that the run began with"


@dataclass(frozen=True, slots=True)
class Source:
    """One shard set and its share of the tokens."""

    name: str
    rows: PackedShards
    weight: float = 1.0  # share of tokens; weights need not sum to 1


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows and where they come from."""

    rows: Rows
    sources: np.ndarray  # int64 [B]: place in the list of sources
    numbers: np.ndarray  # int64 [B]: row within the source
    epochs: np.ndarray  # int64 [B]: how often the source had been read whole before
    first_sample: int  # g of the first row


class TokenStream:
    """Batches of one rank. `batch(step)` is pure; iterating counts steps and can be saved and resumed.

    Raises DataError for a source without rows, UsageError for rows of different lengths or weights that are none.
    `notice` receives one line per source when it begins its fifth epoch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        batch_size: int,
        seed: int,
        *,
        shuffle: Literal["full"] | int = "full",
        rank: int = 0,
        num_ranks: int = 1,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        _check(sources, batch_size, shuffle, rank, num_ranks)
        self.sources, self.batch_size, self.seed, self.shuffle = list(sources), batch_size, seed, shuffle
        self.rank, self.num_ranks, self.notice = rank, num_ranks, notice
        self._schedule = Schedule([_row_weight(source) for source in sources], seed)
        self._first = self._step = 0  # sample of step 0; steps done since
        self._noticed: set[str] = set()
        self._blocks: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def batch(self, step: int) -> Batch:
        """The batch of that step of this rank, counted from where the stream began or was resumed."""
        first = self._first + (step * self.num_ranks + self.rank) * self.batch_size
        source, number, epoch = self._samples(first)
        kind = np.result_type(*(one.rows.shards.tokens.dtype for one in self.sources))
        tokens = np.empty((self.batch_size, self.sources[0].rows.length), kind)
        pieces = []
        for which, one in enumerate(self.sources):
            mine = np.flatnonzero(source == which)
            pieces.append(one.rows.lay(tokens, mine, number[mine]))
        return Batch(Rows(tokens, np.concatenate(pieces)), source, number, epoch, first)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = self.batch(self._step)
        self._step += 1
        if self.notice is not None:
            self._warn(batch, self.notice)
        return batch

    def worker(self, number: int, num_workers: int) -> Iterator[Batch]:
        """The batches of one of several workers of this rank, from the current step on; endless.

        The workers' batches taken in turn (0, 1, ... W - 1, 0 ...) are those of the stream. The process that takes
        them calls `skip(1)` on its own stream for each, so that its `state_dict` says what was consumed.
        """
        step = self._step + number
        while True:
            yield self.batch(step)
            step += num_workers

    def skip(self, steps: int) -> None:
        """Count batches as read that another process has made."""
        self._step += steps

    @property
    def next_sample(self) -> int:
        """g of the first sample that no rank has read, when all ranks are at the same step."""
        return self._first + self._step * self.num_ranks * self.batch_size

    def state_dict(self) -> dict[str, Any]:
        """JSON: the next sample, and a digest of everything that decides the order of samples."""
        return {"version": 1, "next_sample": self.next_sample, "order": self.order_digest()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the saved sample; batch size, ranks and workers may be others than before.

        Raises ArtifactError for a state of other sources, weights, seed, shuffling or row length.
        """
        sample = state.get("next_sample")
        if state.get("version") != 1 or type(sample) is not int or sample < 0:
            raise ArtifactError("This is not the state of a token stream.", str(state)[:200], _FIX)
        if state.get("order") != self.order_digest():
            raise ArtifactError("The saved position is of another order of samples.", str(state)[:200], _FIX)
        self._first, self._step = sample, 0

    def order_digest(self) -> str:
        """SHA-256 over what the sample at every g depends on: seed, shuffling, and per source name, weight, plan."""
        parts = [
            [s.name, float(s.weight), s.rows.plan.facts.shard_digest, s.rows.plan.facts.rows_digest,
             s.rows.num_rows, s.rows.length]
            for s in self.sources
        ]  # fmt: skip
        return sha256_json([self.seed, self.shuffle, parts])

    def epochs(self) -> dict[str, float]:
        """How often every source has been read up to `next_sample`."""
        counts = self._schedule.counts(self.next_sample)
        return {s.name: n / s.rows.num_rows for s, n in zip(self.sources, counts, strict=True)}

    def epochs_at(self, samples: int) -> dict[str, float]:
        """How often every source will have been read after that many samples: to plan a run before it begins."""
        counts = self._schedule.counts(samples)
        return {s.name: n / s.rows.num_rows for s, n in zip(self.sources, counts, strict=True)}

    def origins(self, batch: Batch, row: int) -> list[Origin]:
        """The documents of one row of a batch."""
        return self.sources[int(batch.sources[row])].rows.origins(int(batch.numbers[row]))

    def _samples(self, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, row, epoch) of batch_size samples from `first` on, int64."""
        last = first + self.batch_size
        blocks = [self._block(n) for n in range(first // BLOCK, (last - 1) // BLOCK + 1)]
        part = slice(first % BLOCK, first % BLOCK + self.batch_size)
        source, number, epoch = (np.concatenate(list(column))[part] for column in zip(*blocks, strict=True))
        return source, number, epoch

    def _block(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, row, epoch) of a block of samples. The last few are kept: a cache, not a state."""
        if number not in self._blocks:
            source, place = self._schedule.take(number * BLOCK, BLOCK)
            row, epoch = np.empty_like(place), np.empty_like(place)
            for which in range(len(self.sources)):
                mine = np.flatnonzero(source == which)
                row[mine], epoch[mine] = self._row_numbers(which, place[mine])
            if len(self._blocks) >= 2 + self.batch_size // BLOCK:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[number] = (source, row, epoch)
        return self._blocks[number]

    def _row_numbers(self, which: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, epoch) of places in the endless sequence of one source."""
        size = self.sources[which].rows.num_rows
        epoch, place = np.divmod(places, size)
        if self.shuffle == 0:
            return place, epoch
        window = size if self.shuffle == "full" else int(self.shuffle)
        number = np.empty_like(place)
        for one in np.unique(epoch).tolist():
            here = np.flatnonzero(epoch == one)
            for run in np.unique(place[here] // window).tolist():
                mine = here[place[here] // window == run]
                run_size = min(window, size - run * window)
                permutation = Permutation(run_size, self.seed, self.sources[which].name, one, run)
                number[mine] = run * window + permutation.of(place[mine] - run * window)
        return number, epoch

    def _warn(self, batch: Batch, notice: Callable[[str], None]) -> None:
        for row in np.flatnonzero(batch.epochs >= MANY_EPOCHS).tolist():
            name = self.sources[int(batch.sources[row])].name
            if name not in self._noticed:
                self._noticed.add(name)
                notice(f"source {name} has been read {MANY_EPOCHS} times; further repeats add little")


def _row_weight(source: Source) -> Fraction:
    """Weight per row: the share of tokens over the tokens of a mean row, since padded rows hold fewer."""
    facts = source.rows.plan.facts
    return Fraction(source.weight).limit_denominator(1_000_000) * Fraction(facts.num_rows, facts.num_tokens)


def _check(
    sources: Sequence[Source], batch_size: int, shuffle: Literal["full"] | int, rank: int, num_ranks: int
) -> None:
    names = [source.name for source in sources]
    if not sources or len(set(names)) < len(names):
        raise UsageError("Sources need names of their own.", str(names), "name every source once")
    if batch_size < 1 or not 0 <= rank < num_ranks or (shuffle != "full" and (type(shuffle) is not int or shuffle < 0)):  # fmt: skip
        values = f"batch_size {batch_size}, rank {rank} of {num_ranks}, shuffle {shuffle!r}"
        raise UsageError(
            "A setting of the stream is out of range.", values, 'shuffle: "full", or rows (0: none)'
        )
    for source in sources:
        if source.rows.num_rows == 0:
            raise DataError("A source of the stream has no rows.", source.name, "leave it out")
        if not (math.isfinite(source.weight) and source.weight >= 1e-6):
            raise UsageError(
                "A weight is not a positive number.", f"{source.name}: {source.weight}", "leave it out"
            )
    lengths = {source.name: source.rows.length for source in sources}
    if len(set(lengths.values())) > 1:
        raise UsageError("Sources have rows of different lengths.", str(lengths), "pack them with one length")
