"""Additive attention: a small network scores each memory cell (Bahdanau et al. 2014, arXiv:1409.0473, appendix A.1.2).

    e[t, s] = v . tanh(W q[t] + U m[s])      a = softmax_s(e)      context[t] = sum_s a[t, s] m[s]

`attend` is the formula, for autograd; `attend_by_hand` gives the same with its gradients written out.

Letters: B batch, T queries, S memory cells, Q query width, M memory width, A width of the scoring network.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ownlm.model.hooks import Tapped


class AdditiveAttention(Tapped):
    POINTS: ClassVar = {"pattern": "B T S"}

    def __init__(self, query_width: int, memory_width: int, width: int) -> None:
        super().__init__()
        self.q = nn.Linear(query_width, width, bias=False)  # W
        self.k = nn.Linear(memory_width, width, bias=False)  # U
        self.v = nn.Parameter(torch.empty(width))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        for weight, inputs in ((self.q.weight, self.q.in_features), (self.k.weight, self.k.in_features), (self.v, self.v.shape[0])):  # fmt: skip
            weight.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """query [B, T, Q], memory [B, S, M], mask bool [B, S], True where there is a cell
        -> (context [B, T, M], pattern [B, T, S])."""
        pattern = self.tap(
            "pattern", scores(query, memory, self.q.weight, self.k.weight, self.v, mask).softmax(-1)
        )
        return pattern @ memory, pattern

    @staticmethod
    def num_parameters(query_width: int, memory_width: int, width: int) -> int:
        return width * (query_width + memory_width + 1)


def scores(
    query: Tensor, memory: Tensor, W: Tensor, U: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """e [B, T, S], -inf where the mask [B, S] is False; W [A, Q], U [A, M], v [A]."""
    e = torch.tanh((query @ W.T)[:, :, None] + (memory @ U.T)[:, None]) @ v
    return e if mask is None else e.masked_fill(~mask[:, None], float("-inf"))


def attend(
    query: Tensor, memory: Tensor, W: Tensor, U: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The context [B, T, M]; shapes as `scores`."""
    return scores(query, memory, W, U, v, mask).softmax(dim=-1) @ memory


def attend_by_hand(
    query: Tensor, memory: Tensor, W: Tensor, U: Tensor, v: Tensor, mask: Tensor | None = None
) -> Tensor:
    """As `attend`, differentiated by `gradients`."""
    context: Tensor = _ByHand.apply(query, memory, W, U, v, mask)  # type: ignore[no-untyped-call]
    return context


def gradients(
    query: Tensor, memory: Tensor, W: Tensor, U: Tensor, v: Tensor, mask: Tensor | None, upstream: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """upstream = d loss / d context [B, T, M] -> those of query, memory, W, U and v.

    With h = tanh(z), z = W q + U m:
      d a[t,s] = upstream[t] . m[s]                               context = sum a m
      d e      = a (d a - sum_s a d a)                            softmax
      d v      = sum_bts d e h,     d z = d e v (1 - h^2)         e = v . h
      d W      = sum_bt (sum_s d z) q^T,    d q = (sum_s d z) W
      d U      = sum_bs (sum_t d z) m^T,    d m = (sum_t d z) U + a^T upstream
    """
    h = torch.tanh((query @ W.T)[:, :, None] + (memory @ U.T)[:, None])  # [B,T,S,A]
    e = h @ v
    a = (e if mask is None else e.masked_fill(~mask[:, None], float("-inf"))).softmax(dim=-1)  # [B,T,S]
    da = upstream @ memory.transpose(1, 2)  # [B,T,S]
    de = a * (da - (a * da).sum(dim=-1, keepdim=True))
    dv = torch.einsum("bts,btsa->a", de, h)
    dz = de[..., None] * v * (1 - h * h)  # [B,T,S,A]
    per_query, per_cell = dz.sum(dim=2), dz.sum(dim=1)  # [B,T,A], [B,S,A]
    dW = torch.einsum("bta,btq->aq", per_query, query)
    dU = torch.einsum("bsa,bsm->am", per_cell, memory)
    return per_query @ W, per_cell @ U + a.transpose(1, 2) @ upstream, dW, dU, dv


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, memory: Tensor, W: Tensor, U: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:  # fmt: skip
        ctx.save_for_backward(query, memory, W, U, v)
        ctx.mask = mask
        return attend(query, memory, W, U, v, mask)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, memory, W, U, v = ctx.saved_tensors
        return (*gradients(query, memory, W, U, v, ctx.mask, upstream), None)
