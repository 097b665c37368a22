"""Spans are cut out of the text and asked for: T5's corruption, and UL2's mixture of several.

    text     the cat sat on the mat today
    source   the <1> on the <0'> today          <1>, <0'>: two sentinels
    target   <1> cat sat <0'> mat

Source and target together are the text (`rebuild`). T5: Raffel et al. 2019, arXiv:1910.10683, section 3.1.4. UL2: Tay
et al. 2022, arXiv:2205.05131, section 3.1.2. Two deviations from T5's code: spans may also begin or end a text
(there the first token is never, the last always asked for); as there, and unlike its figure 2, no sentinel ends the
target, the end token does. Letters: B rows, T tokens, S source tokens, U target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ownlm.errors import DataError, UsageError
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.objectives.cross_entropy import IGNORE

Span = tuple[int, int]
"""First token and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Denoiser:
    """One way to cut spans out of a text."""

    mean_length: float = 3.0
    """Tokens of a span on average."""
    density: float = 0.15
    """Share of the text that is cut out."""
    sequential: bool = False
    """One span, the end of the text: a prefix goes on (UL2's S)."""
    mode_id: int | None = None
    """Token that stands before the source and says which way it is (UL2's [R], [S], [X]); None: nothing does."""

    def counts(self, num_tokens: int) -> tuple[int, int]:
        """(tokens cut out, spans) of a text of this length, always the same."""
        noise = min(max(round(num_tokens * self.density), 1), num_tokens - 1)
        if self.sequential:
            return noise, 1
        return noise, min(max(round(noise / self.mean_length), 1), noise, num_tokens - noise + 1)

    def draw(self, num_tokens: int, random: np.random.Generator) -> list[Span]:
        """Spans in order, none touching another."""
        noise, count = self.counts(num_tokens)
        if self.sequential:
            return [(num_tokens - noise, num_tokens)]
        return placed(num_tokens - noise, pieces(noise, count, random), random)


def ul2(r_id: int | None = None, s_id: int | None = None, x_id: int | None = None) -> tuple[Denoiser, ...]:
    """The seven denoisers of UL2, table 1, each as likely: R short and few, S the end, X long or many."""
    regular = tuple(Denoiser(length, 0.15, mode_id=r_id) for length in (3.0, 8.0))
    extreme = ((3.0, 0.5), (8.0, 0.5), (64.0, 0.15), (64.0, 0.5))
    return (
        *regular,
        Denoiser(density=0.25, sequential=True, mode_id=s_id),
        *(Denoiser(length, density, mode_id=x_id) for length, density in extreme),
    )


def pieces(total: int, count: int, random: np.random.Generator) -> list[int]:
    """`count` positive lengths that add up to `total`, every such list equally likely."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1 if count > 1 else np.zeros(0, int)
    return [int(n) for n in np.diff([0, *cuts, total])]


def placed(num_kept: int, lengths: Sequence[int], random: np.random.Generator) -> list[Span]:
    """Spans of these lengths in different gaps between (before, behind) the kept tokens."""
    gaps = np.sort(random.choice(num_kept + 1, len(lengths), replace=False))
    found, before = [], 0
    for gap, length in zip(gaps, lengths, strict=True):
        found.append((int(gap) + before, int(gap) + before + length))
        before += length
    return found


def cut(ids: np.ndarray, spans: Sequence[Span], sentinels: Sequence[int]) -> tuple[list[int], list[int]]:
    """ids [T] -> (source, target), as drawn above."""
    source: list[int] = []
    target: list[int] = []
    done = 0
    for (start, stop), sentinel in zip(spans, sentinels, strict=False):
        source += [*ids[done:start].tolist(), sentinel]
        target += [sentinel, *ids[start:stop].tolist()]
        done = stop
    return source + ids[done:].tolist(), target


def rebuild(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The text of which `cut` made these. Raises DataError where the target lacks a sentinel of the source."""
    known, asked, current = set(sentinels), {}, list[int]()
    for token in target:
        if token in known:
            asked[token] = current = []
        else:
            current.append(token)
    text: list[int] = []
    for token in source:
        if token in known and token not in asked:
            raise DataError(
                "The target has no such span.", f"sentinel {token}", "give source and target of one text"
            )
        text += asked[token] if token in known else [token]
    return text


class SpanBatches:
    """Rows of `source` as pairs for an encoder-decoder; the denoiser of a row is drawn, each as likely.

    inputs int64 [B, S]: (mode token) source, end token, padding. targets int64 [B, U]: target, end token, then ignored.
    extra["mask"] bool [B, S]: False for padding. S and U are the largest of all denoisers, so every batch has one shape.
    """

    def __init__(
        self,
        source: BatchAt,
        *,
        context: int,
        sentinels: Sequence[int],
        end_id: int,
        pad_id: int,
        seed: int,
        denoisers: Sequence[Denoiser] = (Denoiser(),),
    ) -> None:
        """context: T of `source`. Raises UsageError for impossible denoisers or too few sentinels."""
        self.source, self.sentinels, self.seed = source, tuple(sentinels), seed
        self.end_id, self.pad_id, self.denoisers = end_id, pad_id, tuple(denoisers)
        wrong = [str(d) for d in denoisers if not (0 < d.density < 1 and d.mean_length >= 1)]
        if wrong or not denoisers or context < 2:
            raise UsageError("These denoisers are not possible.", "; ".join(wrong) or f"{len(denoisers)}, context {context}",
                             "give a density in (0, 1), a mean length of at least 1, a context of at least 2")  # fmt: skip
        counts = [d.counts(context) for d in denoisers]
        needed = max(spans for _, spans in counts)
        if needed > len(set(self.sentinels)):
            raise UsageError("There are too few different sentinels.", f"{len(set(self.sentinels))} for {needed} spans",
                             "reserve more special tokens, use a shorter context or longer spans")  # fmt: skip
        self.source_length = max(
            context - n + k + 1 + (d.mode_id is not None) for d, (n, k) in zip(denoisers, counts, strict=True)
        )
        self.target_length = max(n + k + 1 for n, k in counts)
        special = {*self.sentinels, *(d.mode_id for d in denoisers if d.mode_id is not None)}
        self._special = np.array(sorted(special))

    def __call__(self, step: int) -> Batch:
        """Raises DataError when a sentinel stands in the text itself."""
        text = self.source(step).inputs.numpy()  # [B,T]
        if np.isin(text, self._special).any():
            raise DataError("The text holds tokens that stand for spans or modes.", f"step {step}",
                            "reserve tokens that no text has")  # fmt: skip
        rows = [self.row(ids, generator(self.seed, "spans", step, row)) for row, ids in enumerate(text)]
        return padded(rows, self.source_length, self.target_length, self.pad_id)

    def row(self, ids: np.ndarray, random: np.random.Generator) -> tuple[list[int], list[int]]:
        denoiser = self.denoisers[int(random.integers(len(self.denoisers)))]
        source, target = cut(ids, denoiser.draw(len(ids), random), self.sentinels)
        mode = [] if denoiser.mode_id is None else [denoiser.mode_id]
        return [*mode, *source, self.end_id], [*target, self.end_id]


def padded(
    rows: Sequence[tuple[list[int], list[int]]], num_source: int, num_target: int, pad_id: int
) -> Batch:
    """(source, target) lists -> inputs [B, num_source] with extra["mask"], targets [B, num_target]."""
    inputs = torch.full((len(rows), num_source), pad_id)
    targets = torch.full((len(rows), num_target), IGNORE)
    mask = torch.zeros((len(rows), num_source), dtype=torch.bool)
    for n, (source, target) in enumerate(rows):
        inputs[n, : len(source)], targets[n, : len(target)] = torch.tensor(source), torch.tensor(target)
        mask[n, : len(source)] = True
    return Batch(inputs, targets, {"mask": mask})
