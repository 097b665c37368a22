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

SMALL_PARAMETERS = 16_000_000
SHORT_FLOPS = 8_000_000_000
"""A small model's forward of fewer operations (about 0.1 s of one core) runs on one thread.

It is some hundred matrix products of microseconds. A second thread gains a tenth in a decode step and 1.6x in a
prompt of 512 tokens; but when anything else wants a core (a browser, a training run) each product waits for the
slower thread: at load 4 on 2 cores, two threads were 10 to 25 times slower than one.
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
    hidden = model.hidden(ids, view, view.positions)  # [B,T,D]
    last = hidden[torch.arange(len(batch)), torch.tensor(counts) - 1]  # [B,D]
    return model.logits(last)


@contextmanager
def threads(model: Decoder, batch: list[Row]) -> Iterator[None]:
    """Inside, a short forward and the sampling after it have one thread (sampling too: the idle second thread
    would spin between its few shared operations). The number is put back: new threads of the process inherit it."""
    usual = torch.get_num_threads()
    num_parameters = model.num_parameters()
    flops = 2 * num_parameters * len(batch) * max(row.num_tokens for row in batch)
    if usual == 1 or num_parameters > SMALL_PARAMETERS or flops >= SHORT_FLOPS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
