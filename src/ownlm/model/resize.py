"""More tokens for a trained model: rows for new tokens, the old rows untouched.

A new token begins as the mean of the rows of the old tokens that spelled it, in the embedding and in the output matrix.
(Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", takes the mean of all rows; the
mean of a token's own pieces starts nearer to what the model saw in its place.) The logits of old tokens do not
change as long as the input has none of the new.

Letters: R rows of a matrix (tokens, and whatever rows pad it), N new tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.decoder import Decoder


def resize_embeddings(weight: Tensor, old_tokens: int, new_tokens: Sequence[Sequence[int]]) -> Tensor:
    """weight [R, D] -> [old_tokens + N, D], same dtype and device.

    old_tokens: the ids in use; rows beyond, which only pad the matrix, are given up. new_tokens[n]: the old ids that
    spell token old_tokens + n. Raises UsageError for ids outside the old tokens and for a token without pieces.
    """
    if not 0 < old_tokens <= weight.shape[0]:
        raise UsageError(
            "The matrix has fewer rows than there are tokens.", f"{weight.shape[0]} rows, {old_tokens} tokens"
        )
    for n, pieces in enumerate(new_tokens):
        if not pieces or not all(0 <= id < old_tokens for id in pieces):
            raise UsageError(
                "A new token must be spelled by old ones.", f"token {old_tokens + n}: {list(pieces)[:8]}",
                f"give ids below {old_tokens}",
            )  # fmt: skip
    rows = [weight[list(pieces)].double().mean(dim=0) for pieces in new_tokens]
    grown = torch.empty(old_tokens + len(rows), weight.shape[1], dtype=weight.dtype, device=weight.device)
    grown[:old_tokens] = weight[:old_tokens]
    for n, row in enumerate(rows):
        grown[old_tokens + n] = row.to(weight.dtype)
    return grown


@torch.no_grad()
def resize_decoder(model: Decoder, old_tokens: int, new_tokens: Sequence[Sequence[int]]) -> Decoder:
    """A new decoder with rows for `new_tokens`; the given one stays as it is."""
    vocab_size = old_tokens + len(new_tokens)
    grown = Decoder(replace(model.config, vocab_size=vocab_size))
    state = model.state_dict()
    for name in ("embedding.weight", "output.weight"):
        if name in state:
            state[name] = resize_embeddings(state[name], old_tokens, new_tokens)
    grown.load_state_dict(state)
    return grown.to(model.embedding.weight.device, model.embedding.weight.dtype)
