"""Supervised fine-tuning data: conversations to batches with loss on the assistant's words only.

The training itself is `ownlm.train.loop.train`; this is its `batch_at`. Every conversation has a row of its own
(nothing can leak between two in one window); rows of like length share a batch, so that little is padding.

Letters: B rows of a batch, T width of a batch in tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ownlm.errors import DataError
from ownlm.records import Message, Passage
from ownlm.runtime.seed import generator
from ownlm.tokenizer.chat import encode_chat
from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import IGNORE

Conversation = tuple[Sequence[Passage], Sequence[Message]]
"""Documents that stand before it, and the messages."""

_NUM_WIDTHS = 3  # different T: each is one compilation of the blocks
_MULTIPLE = 64  # a width is a multiple of it


@dataclass(frozen=True, slots=True)
class Stats:
    """What became of the conversations. Token counts are of one epoch."""

    num_used: int
    num_too_long: int  # longer than the context: left out, never cut
    longest: int  # tokens of the longest that was given
    tokens: int
    trained_tokens: int
    padding: float  # share of the batches' places that hold no token
    widths: tuple[int, ...]


class ConversationBatches:
    """`batch_at` over encoded conversations: each epoch uses every one once, in an order of its own."""

    def __init__(self, rows: list[tuple[np.ndarray, np.ndarray]], widths: tuple[int, ...], tokens_per_batch: int,
                 pad_id: int, seed: int, num_too_long: int, longest: int) -> None:  # fmt: skip
        """rows: (ids, targets) of each conversation, int64, one shorter than its tokens."""
        self._rows, self._widths, self._pad_id, self._seed = rows, widths, pad_id, seed
        lengths = np.array([len(ids) for ids, _ in rows])
        self._bucket = np.searchsorted(widths, lengths)  # the narrowest width that holds it
        self._batch_rows = [_even(tokens_per_batch // width) for width in widths]
        self._batches_of = [
            -(-int((self._bucket == i).sum()) // self._batch_rows[i]) for i in range(len(widths))
        ]
        self.num_batches = sum(self._batches_of)
        places = sum(n * b * w for n, b, w in zip(self._batches_of, self._batch_rows, widths, strict=True))
        trained = sum(int((targets != IGNORE).sum()) for _, targets in rows)
        total = int(lengths.sum())
        self.stats = Stats(len(rows), num_too_long, longest, total, trained, 1 - total / places, widths)
        self._plan: tuple[int, list[tuple[int, np.ndarray]]] | None = None  # the last epoch's: a cache

    def __call__(self, step: int) -> Batch:
        """inputs and targets [B, T] int64; short rows are padded on the right with ignored targets."""
        epoch, place = divmod(step, self.num_batches)
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, self._epoch(epoch))
        bucket, members = self._plan[1][place]
        shape = (self._batch_rows[bucket], self._widths[bucket])
        inputs, targets = np.full(shape, self._pad_id, np.int64), np.full(shape, IGNORE, np.int64)  # [B,T]
        for row, member in enumerate(members):
            ids, wanted = self._rows[member]
            inputs[row, : len(ids)], targets[row, : len(ids)] = ids, wanted
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))

    def _epoch(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """(bucket, conversations) of every batch of an epoch, shuffled."""
        random = generator(self._seed, "conversations", epoch)
        batches: list[tuple[int, np.ndarray]] = []
        for bucket, size in enumerate(self._batch_rows):
            members = random.permutation(np.flatnonzero(self._bucket == bucket))
            batches += [(bucket, members[i : i + size]) for i in range(0, len(members), size)]
        return [batches[i] for i in random.permutation(len(batches))]


def conversation_batches(
    tokenizer: Any, conversations: Iterable[Conversation], context: int, tokens_per_batch: int, seed: int
) -> ConversationBatches:
    """Encode, sort into at most 3 widths, and return `batch_at` with `num_batches` (an epoch) and `stats`.

    A conversation of more than `context` tokens is left out and counted, never cut. Raises DataError when one
    has no token to train on, or when none is left.
    """
    rows, num_too_long, longest, number = [], 0, 0, 0
    for number, (documents, messages) in enumerate(conversations, 1):
        encoded = encode_chat(tokenizer, messages, documents, add_generation_prompt=False)
        longest = max(longest, len(encoded.ids))
        if len(encoded.ids) > context:
            num_too_long += 1
            continue
        ids = np.array(encoded.ids, dtype=np.int64)
        targets = np.where(encoded.trained, ids, IGNORE)[1:]  # [t] is what follows ids[t]
        if not (targets != IGNORE).any():
            raise DataError(
                "A conversation has no token to train on.",
                f"conversation {number}: {len(messages)} messages, none by the assistant with content",
                "leave it out, or give it an assistant's answer",
            )
        rows.append((ids[:-1], targets))
    if not rows:
        raise DataError(
            "There is no conversation to train on.",
            f"{number} given, {num_too_long} of them longer than the context of {context} tokens (longest {longest})",
            "give more conversations, or a larger sft.context",
        )
    widths = _widths([len(ids) for ids, _ in rows])
    return ConversationBatches(
        rows, widths, tokens_per_batch, tokenizer.special_id("<|pad|>"), seed, num_too_long, longest
    )


def _even(rows: int) -> int:
    """At most `rows`, at least 1, and a multiple of 4 where that is possible: the loop cuts it in equal pieces."""
    return rows // 4 * 4 if rows >= 4 else max(1, rows)


def _widths(lengths: list[int]) -> tuple[int, ...]:
    """At most 3 multiples of 64 that hold all lengths with the least padding (exact, by dynamic programming)."""
    counts = np.bincount([-(-length // _MULTIPLE) for length in lengths])  # [units + 1]: rows per width
    fitting = np.cumsum(counts)  # [units + 1]: rows of at most so many units
    used = [units for units in range(1, len(counts)) if counts[units]]
    # least[u]: fewest places for the rows of up to u units, and the widths that reach it
    least: dict[int, tuple[int, tuple[int, ...]]] = {u: (int(fitting[u]) * u, (u,)) for u in used}
    for _ in range(_NUM_WIDTHS - 1):
        more = {}
        for u in used:
            split = [
                (least[v][0] + int(fitting[u] - fitting[v]) * u, (*least[v][1], u)) for v in used if v < u
            ]
            more[u] = min([least[u], *split], key=lambda found: (found[0], len(found[1])))
        least = more
    return tuple(units * _MULTIPLE for units in least[used[-1]][1])
