"""FlashAttention in readable PyTorch: exact attention by tiles, forward and backward, with no T x L matrix.

Dao et al. 2022, arXiv:2205.14135, algorithms 1, 2 and 4, in the loop order of FlashAttention-2 (Dao 2023,
arXiv:2307.08691): queries outside in the forward, keys outside in the backward; one division at the end; only the
logsumexp of each row is saved. For a tile of scores s against the running maximum m, sum l and result a:

    m' = max(m, max s)    p = exp(s - m')    l' = l exp(m - m') + sum p    a' = a exp(m - m') + p v

The backward makes the tile p = exp(s - logsumexp) again and, with d = sum(do * o) per row:

    dv += p^T do      ds = p * (do v^T - d)      dq += scale ds k      dk += scale ds^T q

FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608) computes the same with copies, products and softmax overlapped
on Hopper, and in 8 bits: a matter of scheduling, nothing of which can be shown here. This file explains and proves; the
kernel for GPUs is flash_triton.py, the everyday path torch's scaled_dot_product_attention.

Letters: B batch, T queries, L keys, H query heads, K key/value heads, G = H/K, C head width, t and l tile sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ownlm.errors import UsageError


def flash_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, scale: float | None = None, block_q: int = 64, block_k: int = 64
) -> Tensor:  # fmt: skip
    """softmax(scale q k^T) v: q [B, H, T, C], k [B, K, L, C], v [B, K, L, C'] -> [B, H, T, C'] in q's dtype.

    causal: the last query is the last key (T <= L). scale: C ** -0.5 where None. Sums in float32, float64 for float64.
    Memory beside inputs and outputs: one tile and one number per row. Raises UsageError for shapes that do not fit.
    """
    check_shapes(q, k, v, causal)
    if min(block_q, block_k) < 1:
        raise UsageError(
            "A tile needs a size.", f"block_q = {block_q}, block_k = {block_k}", "give positive numbers"
        )
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out: Tensor = _Flash.apply(q, k, v, causal, scale, block_q, block_k)  # type: ignore[no-untyped-call]  # fmt: skip
    return out


def check_shapes(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    fits = q.ndim == k.ndim == v.ndim == 4 and q.shape[-1] == k.shape[-1] and k.shape[:3] == v.shape[:3]
    fits = fits and q.shape[0] == k.shape[0] and k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0
    if not fits or not (q.numel() and k.numel()) or (causal and q.shape[2] > k.shape[2]):
        raise UsageError("These tensors do not fit together for attention.",
                         f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}, causal = {causal}",
                         "q [B,H,T,C], k and v [B,K,L,C] with H a multiple of K, and T <= L where causal")  # fmt: skip


class Tile(NamedTuple):
    rows: slice
    columns: slice
    masked: bool
    """Whether the diagonal of the causal mask runs through it."""


def tiles(T: int, L: int, causal: bool, block_q: int, block_k: int) -> Iterator[Tile]:
    """Those with something to see, rows outside; causal ones wholly above the diagonal are skipped."""
    for row in range(0, T, block_q):
        end = min(T, row + block_q)
        for column in range(0, L, block_k):
            stop = min(L, column + block_k)
            if causal and column > end - 1 + L - T:
                break
            yield Tile(slice(row, end), slice(column, stop), causal and stop - 1 > row + L - T)


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, block_q: int, block_k: int) -> Tensor:  # fmt: skip
        out, logsumexp = flash_forward(q, k, v, causal, scale, block_q, block_k)
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.options = causal, scale, block_q, block_k
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, logsumexp = ctx.saved_tensors
        return (*flash_backward(q, k, v, out, logsumexp, grad, *ctx.options), None, None, None, None)


def flash_forward(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, block_q: int, block_k: int
) -> tuple[Tensor, Tensor]:
    """-> (out [B, H, T, C'] in q's dtype, logsumexp of each row's scores [B, H, T] in the dtype of the sums)."""
    exact = _exact(q)
    B, H, T, _ = q.shape
    L = k.shape[2]
    out = q.new_empty(B, H, T, v.shape[-1])
    logsumexp = torch.empty(B, H, T, dtype=exact, device=q.device)
    for row in range(0, T, block_q):
        rows = slice(row, min(T, row + block_q))
        some = _grouped(q[:, :, rows], k)  # [B,K,G,t,C]
        highest = torch.full((*some.shape[:-1], 1), float("-inf"), dtype=exact, device=q.device)
        total = torch.zeros_like(highest)
        sum_v = torch.zeros(*some.shape[:-1], v.shape[-1], dtype=exact, device=q.device)
        # The tiles of these rows alone: their last row is query `rows.stop` of a shorter text.
        for tile in tiles(rows.stop - row, L - T + rows.stop if causal else L, causal, block_q, block_k):
            scores = _scores(some, k[:, :, tile.columns], scale, tile, row + L - T)  # [B,K,G,t,l]
            higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
            p, shrink = torch.exp(scores - higher), torch.exp(highest - higher)
            total = total * shrink + p.sum(-1, keepdim=True)
            sum_v = sum_v * shrink + p @ v[:, :, None, tile.columns].to(exact)
            highest = higher
        out[:, :, rows] = (sum_v / total).to(q.dtype).view(B, H, -1, v.shape[-1])
        logsumexp[:, :, rows] = (highest + total.log()).view(B, H, -1)
    return out, logsumexp


def flash_backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, grad: Tensor, causal: bool, scale: float, block_q: int, block_k: int
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """grad [B, H, T, C'] -> those of q, k and v; every tile of p is computed again from the logsumexp."""
    exact = _exact(q)
    T, L = q.shape[2], k.shape[2]
    dq, dk, dv = (torch.zeros(t.shape, dtype=exact, device=q.device) for t in (q, k, v))
    d = torch.linalg.vecdot(grad.to(exact), out.to(exact))[..., None]  # [B,H,T,1]
    for tile in sorted(tiles(T, L, causal, block_q, block_k), key=lambda tile: tile.columns.start):
        rows, columns = tile.rows, tile.columns
        some, g = _grouped(q[:, :, rows], k), _grouped(grad[:, :, rows], k)  # [B,K,G,t,C]
        key, value = k[:, :, columns].to(exact), v[:, :, columns].to(exact)  # [B,K,l,C]
        scores = _scores(some, k[:, :, columns], scale, tile, rows.start + L - T)
        p = torch.exp(scores - _grouped(logsumexp[:, :, rows, None], k))  # [B,K,G,t,l]
        dv[:, :, columns] += (p.transpose(-1, -2) @ g).sum(2)
        ds = p * (g @ value[:, :, None].transpose(-1, -2) - _grouped(d[:, :, rows], k)) * scale
        dq[:, :, rows] += (ds @ key[:, :, None]).flatten(1, 2)
        dk[:, :, columns] += (ds.transpose(-1, -2) @ some).sum(2)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _exact(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _grouped(x: Tensor, k: Tensor) -> Tensor:
    """[B, H, t, C] -> [B, K, G, t, C] in the dtype of the sums."""
    B, H, t, C = x.shape
    return x.reshape(B, k.shape[1], H // k.shape[1], t, C).to(_exact(x))


def _scores(q: Tensor, k: Tensor, scale: float, tile: Tile, first: int) -> Tensor:
    """One tile: q [B, K, G, t, C], k [B, K, l, C] -> [B, K, G, t, l]; `first` is the position of its first query."""
    scores = q @ k[:, :, None].to(q.dtype).transpose(-1, -2) * scale
    if tile.masked:
        query = torch.arange(first, first + q.shape[-2], device=q.device)[:, None]
        scores = scores.masked_fill(torch.arange(tile.columns.start, tile.columns.stop, device=q.device) > query, float("-inf"))  # fmt: skip
    return scores


class Traffic(NamedTuple):
    """Of one head's forward."""

    read: int
    """Numbers from slow memory."""
    written: int
    flops: int


def flash_traffic(T: int, L: int, C: int, *, causal: bool, block_q: int, block_k: int) -> Traffic:
    """Counted over the very tiles of the forward: q once, k and v once per row of tiles; out and logsumexp written."""
    read, flops = T * C, 0
    for tile in tiles(T, L, causal, block_q, block_k):
        wide, high = tile.columns.stop - tile.columns.start, tile.rows.stop - tile.rows.start
        read += 2 * wide * C
        flops += 4 * wide * high * C
    return Traffic(read, T * (C + 1), flops)


def standard_traffic(T: int, L: int, C: int) -> Traffic:
    """Algorithm 0: scores and weights each go to slow memory and come back."""
    return Traffic(T * C + 2 * L * C + 2 * T * L, 2 * T * L + T * C, 4 * T * L * C)
