"""Who runs next: a bounded queue, first come first served, and one slot for each running request.

Not thread-safe by itself: the engine calls it under its lock.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import NamedTuple

from ownlm.engine.overload import Overloaded
from ownlm.engine.sequence import Sequence


class Row(NamedTuple):
    """`num_tokens` pending tokens of a sequence, to be given to the model in this step."""

    sequence: Sequence
    num_tokens: int


class Scheduler:
    """`waiting` is bounded in requests and in prompt tokens; `running` has at most `num_slots` sequences."""

    def __init__(self, num_slots: int, max_queue: int, max_queue_tokens: int, prefill_tokens: int) -> None:
        self.num_slots = num_slots
        self.max_queue, self.max_queue_tokens = max_queue, max_queue_tokens
        self.prefill_tokens = prefill_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # in order of arrival
        self.free_slots = list(range(num_slots))  # a heap: low slots first, so that batches are neighbours
        self.queue_tokens = 0

    def submit(self, sequence: Sequence, retry_after_seconds: float) -> None:
        """Queue a sequence. Raises Overloaded when there is no room in requests or in tokens."""
        num_tokens = self.queue_tokens + len(sequence.prompt)
        if len(self.waiting) >= self.max_queue or (self.waiting and num_tokens > self.max_queue_tokens):
            raise Overloaded(
                "The queue is full.",
                f"{len(self.waiting)} of {self.max_queue} requests and {self.queue_tokens:,} of "
                f"{self.max_queue_tokens:,} prompt tokens are waiting",
                f"try again in about {retry_after_seconds:.0f} s",
                retry_after_seconds,
            )
        self.waiting.append(sequence)
        self.queue_tokens = num_tokens

    def admit(self) -> list[Sequence]:
        """Move waiting sequences into free slots, oldest first; returns the new ones."""
        admitted = []
        while self.waiting and self.free_slots:
            sequence = self.waiting.popleft()
            self.queue_tokens -= len(sequence.prompt)
            sequence.slot = heapq.heappop(self.free_slots)
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def release(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is; its slot is free afterwards."""
        if sequence.slot >= 0:
            self.running.remove(sequence)
            heapq.heappush(self.free_slots, sequence.slot)
            sequence.slot = -1
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
            self.queue_tokens -= len(sequence.prompt)

    def plan(self) -> list[list[Row]]:
        """This step's batches; every running stream moves, and long prompts take at most one budget.

        Three batches, because a batch is padded to its longest row: one new token (decode), several tokens that
        a constraint forced, and prompts.
        """
        decode = [Row(s, 1) for s in self.running if s.num_pending == 1]
        wide = [s for s in self.running if s.num_pending > 1]
        forced = [Row(s, min(s.num_pending, self.prefill_tokens)) for s in wide if s.generated]
        prompts = self._prefill([s for s in wide if not s.generated])
        batches = [sorted(batch, key=lambda row: row.sequence.slot) for batch in (decode, forced, prompts)]
        return [batch for batch in batches if batch]

    def _prefill(self, prompts: list[Sequence]) -> list[Row]:
        """The oldest prompt's next chunk, and others of similar length while the padded batch fits the budget."""
        rows: list[Row] = []
        for sequence in prompts:
            count = min(sequence.num_pending, self.prefill_tokens)
            counts = [row.num_tokens for row in rows] + [count]
            fits = max(counts) * len(counts) <= self.prefill_tokens
            similar = 2 * min(counts) >= max(counts)  # at most half of a row is padding
            if not rows or (fits and similar):
                rows.append(Row(sequence, count))
        return rows
