"""Multiplicative attention of recurrent decoders (Luong et al. 2015, arXiv:1508.04025, equation 8).

    dot      e[t, s] = q[t] . m[s]
    general  e[t, s] = q[t] . W m[s]
    concat   e[t, s] = v . tanh(W [q[t]; m[s]])

Letters: B batch, T queries, S memory cells, Q query width, M memory width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped

KINDS = ("dot", "general", "concat")


class LuongAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B T S"}

    def __init__(self, kind: str, query_width: int, memory_width: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UsageError("This score is not known.", repr(kind), f"use one of {', '.join(KINDS)}")
        if kind == "dot" and query_width != memory_width:
            raise UsageError("dot needs queries and memory of one width.", f"{query_width} and {memory_width}", "use general")  # fmt: skip
        self.kind = kind
        self.k = nn.Linear(memory_width, query_width, bias=False) if kind == "general" else None
        self.joined = (
            nn.Linear(query_width + memory_width, query_width, bias=False) if kind == "concat" else None
        )
        self.v = nn.Parameter(torch.empty(query_width)) if kind == "concat" else None

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        for weight in self.parameters():
            bound = weight.shape[-1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """query [B, T, Q], memory [B, S, M], mask bool [B, S], True where there is a cell
        -> (context [B, T, M], pattern [B, T, S])."""
        e = self.scores(query, memory)
        if mask is not None:
            e = e.masked_fill(~mask[:, None], float("-inf"))
        pattern = self.tap("pattern", e.softmax(dim=-1))
        return pattern @ memory, pattern

    def scores(self, query: Tensor, memory: Tensor) -> Tensor:
        """[B, T, S]."""
        if self.joined is not None and self.v is not None:
            from_query, from_memory = torch.split(
                self.joined.weight, [query.shape[-1], memory.shape[-1]], dim=1
            )
            both = (query @ from_query.T)[:, :, None] + (memory @ from_memory.T)[:, None]  # [B,T,S,Q]
            return torch.tanh(both) @ self.v
        return query @ (memory if self.k is None else self.k(memory)).transpose(1, 2)

    @staticmethod
    def num_parameters(kind: str, query_width: int, memory_width: int) -> int:
        return {"dot": 0, "general": query_width * memory_width, "concat": query_width * (query_width + memory_width + 1)}[kind]  # fmt: skip
