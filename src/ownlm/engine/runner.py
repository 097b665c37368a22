"""One forward of the model over one batch.

Letters: B rows, T padded new tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ownlm.engine.cache import BatchView, SlotCache
from ownlm.engine.scheduler import Row
from ownlm.model.decoder import Decoder

SHARED_FLOPS = 500_000_000
"""Forwards of fewer operations (10 to 20 ms of one core) run on one thread.

A decode step of a small model is some hundred products of microseconds. Two threads gain at most a tenth there,
and when anything else wants a core (a browser, a training run) each product waits for the slower thread: on a
busy 2-core machine one thread was 25 times faster than two.
"""


def forward(model: Decoder, cache: SlotCache, batch: list[Row]) -> Tensor:
    """Give the model every row's pending tokens -> logits [B, V] of each row's last one."""
    counts = [row.num_tokens for row in batch]
    width = max(counts)
    view = BatchView(
        cache, [r.sequence.slot for r in batch], [r.sequence.num_computed for r in batch], counts
    )
    rows = [row.sequence.pending(row.num_tokens) for row in batch]
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])  # [B,T]
    with _threads(2 * model.num_parameters() * ids.numel()):
        hidden = model.hidden(ids, view, view.positions)  # [B,T,D]
        last = hidden[torch.arange(len(batch)), torch.tensor(counts) - 1]  # [B,D]
        return model.logits(last)


@contextmanager
def _threads(flops: int) -> Iterator[None]:
    """One thread for a short forward; the number is put back, since other threads of the process inherit it."""
    usual = torch.get_num_threads()
    if usual == 1 or flops >= SHARED_FLOPS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
