"""Tokens are masked, the model guesses them from both sides (BERT, Devlin et al. 2018, arXiv:1810.04805, section 3.1).

Letters: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ownlm.errors import DataError
from ownlm.model.mlm import mask_tokens
from ownlm.runtime.seed import derive
from ownlm.train.batches import Batch, BatchAt
from ownlm.train.objectives.cross_entropy import IGNORE

_ATTEMPTS = 100


class MaskedBatches:
    """The rows of `source` with 15 % of their tokens asked for, by the rule of model/mlm.py; extra is kept, and where
    it has pairs, extra["weight"] float32 [B] says how many of the tokens asked for each pair's class counts.

    The masks are drawn anew at every step from (seed, step). In a tiny batch where nothing at all was drawn they are
    drawn again, as a step cannot train on nothing; in one of 64 tokens that is once in 33,000.
    """

    def __init__(
        self,
        source: BatchAt,
        *,
        mask_id: int,
        vocab_size: int,
        seed: int,
        rate: float = 0.15,
        keep_ids: Sequence[int] = (),
    ) -> None:
        """vocab_size: random replacements are drawn below it. keep_ids: special tokens and padding, never asked for."""
        self.source, self.mask_id, self.vocab_size, self.seed = source, mask_id, vocab_size, seed
        self.rate, self.keep_ids = rate, torch.tensor(list(keep_ids), dtype=torch.int64)

    def __call__(self, step: int) -> Batch:
        """Raises DataError when no token may be asked for."""
        batch = self.source(step)
        keep = torch.isin(batch.inputs, self.keep_ids)
        for attempt in range(_ATTEMPTS):
            generator = torch.Generator().manual_seed(derive(self.seed, "mask", step, attempt))
            shown, asked = mask_tokens(
                batch.inputs, mask_id=self.mask_id, vocab_size=self.vocab_size, generator=generator,
                rate=self.rate, keep=keep,
            )  # fmt: skip
            if bool((asked != IGNORE).any()):
                weight = {}
                if "next" in batch.extra:
                    weight["weight"] = ((asked != IGNORE).sum() / len(asked)).expand(len(asked))
                return Batch(shown, asked, {**batch.extra, **weight})
        raise DataError(
            "A batch has no token to ask for.",
            f"step {step}: {int((~keep).sum())} of {keep.numel()} tokens may be masked, rate {self.rate}",
            "use larger batches, or a higher rate",
        )
