"""A recurrent language model, with the small face that every model here has.

      ids [B,T] -- embedding -- layers of Elman, LSTM or GRU cells -- output layer -- logits [B,T,V]

Letters: B batch, T time, D width of embedding and state, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model import rnn
from ownlm.model.place import DecodeCache


@dataclass(frozen=True, slots=True)
class RecurrentConfig:
    vocab_size: int
    hidden_size: int
    """D: of the embedding and of the state."""
    num_layers: int = 1
    cell: str = "gru"
    """elman, lstm or gru."""
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        rnn.cell_class(self.cell)
        if min(self.vocab_size, self.hidden_size, self.num_layers) < 1:
            raise UsageError("A recurrent model needs positive sizes.", str(self), "correct them")


class RecurrentLM(nn.Module):
    """Float32 weights drawn from `seed`."""

    def __init__(self, config: RecurrentConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        D = config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, D)
        self.stack = rnn.Recurrent(config.cell, D, D, config.num_layers)
        self.output = None if config.tie_embeddings else nn.Linear(D, config.vocab_size, bias=False)
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for table in (self.embedding, self.output):
            if table is not None:
                table.weight.normal_(0.0, self.config.hidden_size**-0.5, generator=generator)
        rnn.initialize(self.stack, generator)

    def forward(self, ids: Tensor, cache: DecodeCache | None = None) -> Tensor:
        """ids [B, T] int64 -> logits [B, T, V]; with a cache (`new_cache`) it goes on where that stands."""
        states = None
        if cache is not None:
            cache.begin(ids.shape[1], ids.device)
            states = cache.state(0)
        hidden, states = self.stack(self.embedding(ids), states)  # [B,T,D]
        if cache is not None:
            cache.keep(0, states)
            cache.end()
        return F.linear(hidden, self.embedding.weight if self.output is None else self.output.weight)

    def new_cache(self) -> DecodeCache:
        return DecodeCache([None])

    def num_parameters(self) -> int:
        c = self.config
        tables = c.vocab_size * c.hidden_size * (1 if c.tie_embeddings else 2)
        return tables + rnn.count_parameters(c.cell, c.hidden_size, c.hidden_size, c.num_layers)

    def flops_per_token(self, context: int) -> int:
        """Training operations per token, at any context: 6 per weight of a product (count.py)."""
        c = self.config
        gates = rnn.cell_class(c.cell).GATES
        return 6 * (c.num_layers * gates * 2 * c.hidden_size**2 + c.hidden_size * c.vocab_size)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """0: the state does not grow."""
        return 0
