"""Windows whose documents do not see each other: the same rows, and beside them whose token each is.

Letters: B rows, T tokens.
"""

from __future__ import annotations

import numpy as np
import torch

from ownlm.errors import DataError
from ownlm.train.batches import Batch, ShardBatches


class DocumentBatches:
    """The batches of `source` with extra["documents"]: int64 [B, T], 0 for the first document in a row, 1 for the next.

    The target of a document's last token stays the next document's BOS: it is what tells the end. A document that
    began in another window begins anew here.
    """

    def __init__(self, source: ShardBatches, document_starts: np.ndarray) -> None:
        """document_starts int64 [num_documents]: rising offsets in source.tokens, as `Shards.document_starts`.

        Raises DataError when they are not the starts of these tokens."""
        self.source, self.document_starts = source, np.asarray(document_starts)
        starts, num_tokens = self.document_starts, len(source.tokens)
        if not len(starts) or starts[0] != 0 or starts[-1] >= num_tokens or (np.diff(starts) <= 0).any():
            raise DataError(
                "These are not the starts of the documents of these tokens.",
                f"{len(starts)} starts, {num_tokens} tokens",
                "take tokens and document_starts of one Shards",
            )

    def __call__(self, step: int) -> Batch:
        batch = self.source(step)
        places = np.array(self.source.starts(step))[:, None] + np.arange(self.source.context)  # [B,T]
        numbers = np.searchsorted(self.document_starts, places, side="right")
        documents = torch.from_numpy(numbers - numbers[:, :1])
        return Batch(batch.inputs, batch.targets, {**batch.extra, "documents": documents})
