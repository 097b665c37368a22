"""A trained model reads documents and notes how likely it finds each: what the next round of data is chosen by.

The number goes to meta["model_bits"]: bits per byte, the same scale for every tokenizer. The step `by_score`
(data/filters/by_score.py) then keeps a part. The model that scores must not have seen the documents more often than
others, or it takes familiarity for quality: score with a model of other text, or of all of it alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from ownlm.errors import UsageError
from ownlm.evals import bits
from ownlm.records import Document

KEY = "model_bits"
DOCUMENTS = 64  # scored at once; what bounds memory beside the longest document


def scored(
    documents: Iterable[Document],
    model: Any,
    encode_batch: Callable[[Sequence[str]], Sequence[np.ndarray]],
    bos: int,
    context: int,
    key: str = KEY,
) -> Iterator[Document]:
    """Every document with its score, in order; an empty text gets none. `model` as in evals/bits.py.

    A token sees half a context or more to its left where there is as much. Raises UsageError for a context below 2.
    """
    if context < 2:
        raise UsageError("A model needs a context to score in.", f"context = {context}", "give 2 or more")
    source = iter(documents)
    while batch := list(islice(source, DOCUMENTS)):
        rows = [
            np.concatenate([[bos], np.asarray(ids, np.int64)])
            for ids in encode_batch([d.text for d in batch])
        ]
        starts = np.cumsum([0, *(len(row) for row in rows[:-1])])
        tokens = np.concatenate(rows)
        nats = np.zeros(len(batch))
        if len(tokens) > len(rows):
            nats = bits.score(model, tokens, starts, context, context // 2)
        for document, found in zip(batch, nats, strict=True):
            size = len(document.text.encode("utf-8", "surrogatepass"))
            if size == 0:
                yield document
            else:
                score = round(float(found) / math.log(2) / size, 6)
                yield replace(document, meta={**document.meta, key: score})
