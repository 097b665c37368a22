"""Two stretches of text: does the second follow the first? (BERT, arXiv:1810.04805, section 3.1, task 2)

    [CLS] a a a a [SEP] b b b [SEP] (padding)       types 0 0 0 0 0 0 1 1 1 1 0

Half of the time b is what follows a in its document, else it comes from a random place of another document.
Letters: B rows, T tokens.
"""

from __future__ import annotations

import numpy as np
import torch

from ownlm.errors import DataError, UsageError
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch
from ownlm.train.objectives.cross_entropy import IGNORE

FOLLOWS, RANDOM = 0, 1
"""Classes, numbered as the published BERT numbers them."""


class PairBatches:
    """Rows [B, T] drawn from (seed, step, row), with replacement: a place in the text, a length of a, a coin.

    Deviations from BERT: stretches are cut at tokens, not at sentences, and no row is shortened on purpose. Targets
    are all ignored; MaskedBatches around this asks for tokens. extra: mask bool [B, T] (False for padding), types
    int64 [B, T], next int64 [B] (FOLLOWS or RANDOM).
    """

    def __init__(
        self,
        tokens: np.ndarray,
        document_starts: np.ndarray,
        context: int,
        batch_size: int,
        seed: int,
        *,
        cls_id: int,
        sep_id: int,
        pad_id: int,
    ) -> None:
        """Raises UsageError for a context without room, DataError without two documents of two tokens."""
        self.tokens, self.context, self.batch_size, self.seed = tokens, context, batch_size, seed
        self.cls_id, self.sep_id, self.pad_id = cls_id, sep_id, pad_id
        if context < 5:
            raise UsageError("A pair does not fit the context.", f"{context} tokens", "give at least 5")
        starts = np.asarray(document_starts, np.int64)
        lengths = np.diff(starts, append=len(tokens))
        usable = lengths >= 2
        self.starts, self.lengths = starts[usable], lengths[usable]  # [documents]
        if len(self.starts) < 2:
            raise DataError(
                "Pairs need two documents of at least two tokens.",
                f"{len(self.starts)} of {len(starts)} documents",
                "give more documents, or train without pairs (mlm)",
            )
        self._ends = np.cumsum(self.lengths)

    def __call__(self, step: int) -> Batch:
        B, T = self.batch_size, self.context
        ids = np.full((B, T), self.pad_id, np.int64)
        types, lengths, kinds = np.zeros((B, T), np.int64), np.zeros(B, np.int64), np.zeros(B, np.int64)
        for row in range(B):
            a, b, kinds[row] = self._pair(generator(self.seed, "pair", step, row))
            found = np.concatenate(([self.cls_id], a, [self.sep_id], b, [self.sep_id]))
            lengths[row] = len(found)
            ids[row, : len(found)] = found
            types[row, len(a) + 2 : len(found)] = 1
        extra = {
            "mask": torch.arange(T) < torch.from_numpy(lengths)[:, None],
            "types": torch.from_numpy(types),
            "next": torch.from_numpy(kinds),
        }
        return Batch(torch.from_numpy(ids), torch.full((B, T), IGNORE), extra)

    def _pair(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """(a, b, class); a and b have at least one token each and together at most T - 3."""
        room = self.context - 3
        document, place = self._place(random)
        place = min(place, int(self.lengths[document]) - 2)  # a token must follow
        left = int(self.lengths[document]) - place
        first = int(random.integers(1, min(room, left)))  # of a: leaves one for b
        a = self._stretch(document, place, first)
        if random.random() < 0.5:
            return a, self._stretch(document, place + first, room - first), FOLLOWS
        other, where = self._place(random)
        while other == document:
            other, where = self._place(random)
        return a, self._stretch(other, where, room - first), RANDOM

    def _place(self, random: np.random.Generator) -> tuple[int, int]:
        """(document, token in it), every token of usable documents equally likely."""
        at = int(random.integers(self._ends[-1]))
        document = int(np.searchsorted(self._ends, at, side="right"))
        return document, at - int(self._ends[document] - self.lengths[document])

    def _stretch(self, document: int, place: int, length: int) -> np.ndarray:
        """At most `length` tokens, ending with the document."""
        begin = int(self.starts[document]) + place
        end = int(self.starts[document] + self.lengths[document])
        return np.asarray(self.tokens[begin : min(begin + length, end)], np.int64)
