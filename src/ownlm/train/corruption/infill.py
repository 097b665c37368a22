"""Fill in the middle: a document is cut in three, and its middle comes last (Bavarian et al. 2022, arXiv:2207.14255).

    text   BOS prefix middle suffix
    PSM    BOS <PRE> prefix <SUF> suffix <MID> middle <END>
    SPM    BOS <PRE> <SUF> suffix <MID> prefix middle <END>          the paper's variant 2, which shares with PSM

An ordinary decoder learns it by next-token prediction; all tokens are trained on (section 3). Cuts fall between
tokens, not characters: prompts that end within a token are not practised (section 4.4 tells what that costs).

Letters: B rows, C tokens of a row of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ownlm.errors import DataError, UsageError
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.objectives.cross_entropy import IGNORE

ADDED = 4
"""Tokens that a document grows by."""


@dataclass(frozen=True, slots=True)
class Sentinels:
    prefix_id: int
    suffix_id: int
    middle_id: int
    end_id: int
    """Says that the middle is complete."""

    def all(self) -> tuple[int, int, int, int]:
        return self.prefix_id, self.suffix_id, self.middle_id, self.end_id


def arrange(
    prefix: Sequence[int],
    middle: Sequence[int],
    suffix: Sequence[int],
    order: Literal["psm", "spm"],
    s: Sentinels,
) -> list[int]:
    """The three parts in the order of training."""
    return [*prompt(prefix, suffix, order, s), *middle, s.end_id]


def prompt(
    prefix: Sequence[int], suffix: Sequence[int], order: Literal["psm", "spm"], s: Sentinels
) -> list[int]:
    """What is given to a model that shall write the middle."""
    if order == "psm":
        return [s.prefix_id, *prefix, s.suffix_id, *suffix, s.middle_id]
    return [s.prefix_id, s.suffix_id, *suffix, s.middle_id, *prefix]


def rebuild(ids: Sequence[int], s: Sentinels) -> list[int]:
    """The text of which `arrange` made these; either order tells itself apart. Raises DataError for anything else."""
    ids = list(ids)
    places = [ids.index(token) if ids.count(token) == 1 else -1 for token in s.all()[:3]]
    if places != sorted(places) or places[0] != 0 or ids[-1] != s.end_id:
        raise DataError("This is no text with its middle last.", f"sentinels at {places} of {len(ids)} tokens",
                        "give what `arrange` made")  # fmt: skip
    _, suffix, middle = places
    # SPM has nothing between the first two, and prefix and middle together at the end: the same formula.
    return ids[1:suffix] + ids[middle + 1 : -1] + ids[suffix + 1 : middle]


def cut(ids: Sequence[int], random: np.random.Generator) -> tuple[list[int], list[int], list[int]]:
    """Two different cuts, each pair equally likely: prefix and suffix may be empty, the middle is not."""
    first, second = sorted(int(n) for n in random.choice(len(ids) + 1, 2, replace=False))
    ids = list(ids)
    return ids[:first], ids[first:second], ids[second:]


class InfillBatches:
    """Rows of `source`, documents of which have their middle last with probability `rate`, half PSM and half SPM.

    Documents are told by their BOS, which stays in front. A row has room for `documents_per_row` of them (4 tokens
    each; unused room is padding at the end, not trained on), so inputs and targets are int64
    [B, C + 4 documents_per_row]; of more that were drawn a random choice is transformed. extra["documents"]
    [B, C + ...] goes along where `source` has it.
    """

    def __init__(
        self,
        source: BatchAt,
        *,
        sentinels: Sentinels,
        bos_id: int,
        pad_id: int,
        seed: int,
        rate: float = 0.5,
        spm_rate: float = 0.5,
        documents_per_row: int = 1,
    ) -> None:
        if not 0 <= rate <= 1 or not 0 <= spm_rate <= 1 or documents_per_row < 1:
            raise UsageError("These rates of infilling are not possible.",
                             f"rate = {rate}, spm_rate = {spm_rate}, documents_per_row = {documents_per_row}",
                             "give rates in [0, 1] and at least one document")  # fmt: skip
        if len({*sentinels.all(), bos_id}) < 5:
            raise UsageError(
                "The sentinels are not different.", f"{sentinels}, BOS {bos_id}", "give five ids"
            )
        self.source, self.sentinels, self.bos_id, self.pad_id = source, sentinels, bos_id, pad_id
        self.seed, self.rate, self.spm_rate, self.documents_per_row = seed, rate, spm_rate, documents_per_row

    def __call__(self, step: int) -> Batch:
        """Raises DataError when a sentinel stands in the text."""
        batch = self.source(step)
        text = torch.cat((batch.inputs, batch.targets[:, -1:]), dim=1).numpy()  # [B,C+1]
        if np.isin(text, self.sentinels.all()[:3]).any():
            raise DataError("The text holds infilling's sentinels.", f"step {step}", "reserve ids for them")
        B, length = len(text), text.shape[1] + ADDED * self.documents_per_row
        ids = torch.full((B, length), self.pad_id)
        trained = torch.zeros((B, length), dtype=torch.bool)
        numbers = torch.zeros((B, length), dtype=torch.int64)
        for row in range(B):
            parts = self.row(text[row], generator(self.seed, "infill", step, row))
            found = [token for part in parts for token in part]
            ids[row, : len(found)], trained[row, : len(found)] = torch.tensor(found), True
            of = [n for n, part in enumerate(parts) for _ in part]
            numbers[row] = torch.tensor(
                of + [len(parts)] * (length - len(of))
            )  # padding is a document of its own
        targets = torch.where(trained, ids, IGNORE)[:, 1:].contiguous()
        extra = {"documents": numbers[:, :-1].contiguous()} if "documents" in batch.extra else {}
        return Batch(ids[:, :-1].contiguous(), targets, extra)

    def row(self, text: np.ndarray, random: np.random.Generator) -> list[list[int]]:
        """The documents of a row, some of them transformed."""
        parts = [part.tolist() for part in np.split(text, np.flatnonzero(text == self.bos_id)) if len(part)]
        long = [n for n, part in enumerate(parts) if len(part) - (part[0] == self.bos_id) >= 2]
        drawn = [n for n in random.permutation(long).tolist() if random.random() < self.rate]
        for n in drawn[: self.documents_per_row]:
            head = parts[n][:1] if parts[n][0] == self.bos_id else []
            order: Literal["psm", "spm"] = "spm" if random.random() < self.spm_rate else "psm"
            parts[n] = head + arrange(*cut(parts[n][len(head) :], random), order, self.sentinels)
        return parts
