"""BART's five kinds of noise; the whole text is asked for (Lewis et al. 2019, arXiv:1910.13461, section 2.2).

    text       a b c . d e .
    infill     a _ . d e .          a span of Poisson length, also of none, becomes one mask
    permute    d e . a b c .        sentences in another order
    delete     a c . e .            tokens vanish, where is not said
    mask       a _ c . _ e .
    rotate     c . d e . a b        begins at another token

Letters: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ownlm.errors import UsageError
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.corruption.spans import padded, placed

KINDS = ("permute", "rotate", "delete", "mask", "infill")
"""In the order in which they are applied."""


def infill(
    ids: np.ndarray, mask_id: int, ratio: float, mean: float, random: np.random.Generator
) -> np.ndarray:
    """Spans with lengths from Poisson(mean) until `ratio` of the tokens are covered; each becomes one mask.

    A span of no tokens (an insertion) counts as one towards the ratio, as in the published code. The result is never
    longer than the text: where insertions would make it so, some of them take one token instead.
    """
    budget, lengths = math.ceil(len(ids) * ratio), list[int]()
    while budget > 0:
        length = min(int(random.poisson(mean)), budget)
        lengths.append(length)
        budget -= max(1, length)
    for n, length in enumerate(lengths):
        if length == 0 and sum(lengths) < len(lengths):
            lengths[n] = 1
    # Different gaps: one fewer span than kept tokens at most, else the last spans become one.
    while len(lengths) > len(ids) - sum(lengths) + 1:
        last = lengths.pop()
        lengths[-1] += last
    found, done = list[int](), 0
    for start, stop in placed(len(ids) - sum(lengths), lengths, random):
        found += [*ids[done:start].tolist(), mask_id]
        done = stop
    return np.array(found + ids[done:].tolist(), np.int64)


def permute(ids: np.ndarray, stop_ids: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """Sentences, each ending with one of stop_ids (the last perhaps without), in random order."""
    ends = np.flatnonzero(np.isin(ids, list(stop_ids))) + 1
    sentences = [part for part in np.split(ids, ends) if len(part)]
    return np.concatenate([sentences[n] for n in random.permutation(len(sentences))])


def rotate(ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.roll(ids, -int(random.integers(len(ids))))


def delete(ids: np.ndarray, ratio: float, random: np.random.Generator) -> np.ndarray:
    """Each token vanishes with probability `ratio`; one always stays."""
    stays = random.random(len(ids)) >= ratio
    stays[int(random.integers(len(ids)))] = True
    return ids[stays]


def mask(ids: np.ndarray, mask_id: int, ratio: float, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(len(ids)) < ratio, mask_id, ids)


class BartBatches:
    """Rows of `source`, made noisy in the given ways, and the whole text as the target.

    The default is that of the published large model: sentences permuted, 30 % of the tokens infilled. inputs int64
    [B, T + 1]: noisy text, end token, padding; targets int64 [B, T + 1]: text, end token; extra["mask"] bool [B, T + 1].
    """

    def __init__(
        self,
        source: BatchAt,
        *,
        mask_id: int,
        end_id: int,
        pad_id: int,
        seed: int,
        kinds: Sequence[str] = ("permute", "infill"),
        stop_ids: Sequence[int] = (),
        ratio: float = 0.3,
        mean_length: float = 3.0,
    ) -> None:
        """stop_ids: tokens that end a sentence. Raises UsageError for unknown kinds, or permute without stop_ids."""
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise UsageError(
                "This noise is not known.", ", ".join(unknown) or "none", f"use {', '.join(KINDS)}"
            )
        if "permute" in kinds and not stop_ids:
            raise UsageError("Permuting sentences needs to know where they end.", "no stop_ids",
                             "give the ids that end a sentence, or other kinds of noise")  # fmt: skip
        if not 0 < ratio < 1 or mean_length <= 0:
            raise UsageError("This much noise is not possible.", f"ratio = {ratio}, mean_length = {mean_length}",
                             "give a ratio in (0, 1) and a mean length above 0; BART used 0.3 and 3")  # fmt: skip
        self.source, self.mask_id, self.end_id, self.pad_id, self.seed = source, mask_id, end_id, pad_id, seed
        self.kinds, self.stop_ids, self.ratio, self.mean_length = (
            tuple(kinds),
            tuple(stop_ids),
            ratio,
            mean_length,
        )

    def __call__(self, step: int) -> Batch:
        text = self.source(step).inputs.numpy()  # [B,T]
        rows = []
        for row, ids in enumerate(text):
            noisy = self.noisy(ids, generator(self.seed, "bart", step, row))
            rows.append(([*noisy.tolist(), self.end_id], [*ids.tolist(), self.end_id]))
        return padded(rows, text.shape[1] + 1, text.shape[1] + 1, self.pad_id)

    def noisy(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """ids [T] -> at most T ids."""
        if "permute" in self.kinds:
            ids = permute(ids, self.stop_ids, random)
        if "rotate" in self.kinds:
            ids = rotate(ids, random)
        if "delete" in self.kinds:
            ids = delete(ids, self.ratio, random)
        if "mask" in self.kinds:
            ids = mask(ids, self.mask_id, self.ratio, random)
        if "infill" in self.kinds:
            ids = infill(ids, self.mask_id, self.ratio, self.mean_length, random)
        return ids
