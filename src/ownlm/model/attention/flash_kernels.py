"""The Triton kernels of FlashAttention: forward, gradient of the queries, gradients of keys and values.

The algorithm and its letters are those of flash.py, arXiv:2307.08691. A program owns one tile and loops over the other
side, so no two programs write to one place and the gradients are the same in every run (FlashAttention-2 instead adds
dq atomically, which saves making the tiles of p a second time). All tensors are contiguous; columns C .. WIDTH - 1 are
zeros. Importing this file needs Triton: flash_triton.py does so when it is called, and says what is missing.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,import-untyped"
# The arguments of a kernel are pointers and numbers of the GPU: Triton has no types for them.
from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether TRITON_INTERPRET was set when the kernels were made: they then run on the CPU, as numpy."""


@triton.jit
def product(a, b, WIDEN: tl.constexpr):
    """a @ b summed in float32. WIDEN: the interpreter has bfloat16 as bit patterns and would multiply those."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def forward(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, T, L, H, G, scale,
    C: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head: its output and logsumexp."""
    tile = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)  # b * H + h
    kv_head = (head // H) * (H // G) + (head % H) // G  # b * K + h // G
    rows = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)  # [t]
    wide = tl.arange(0, WIDTH)  # [c]
    inside = wide[None, :] < C
    at = head * T * C + rows[:, None] * C + wide[None, :]
    q = tl.load(q_ptr + at, mask=(rows[:, None] < T) & inside, other=0.0)  # [t,c]
    highest = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    sum_v = tl.zeros([BLOCK_Q, WIDTH], tl.float32)
    end = L
    if CAUSAL:
        end = tl.minimum(L, (tile + 1) * BLOCK_Q + L - T)
    for first in range(0, end, BLOCK_K):
        columns = first + tl.arange(0, BLOCK_K)  # [l]
        key_at = kv_head * L * C + columns[:, None] * C + wide[None, :]
        there = (columns[:, None] < L) & inside
        k = tl.load(k_ptr + key_at, mask=there, other=0.0)  # [l,c]
        v = tl.load(v_ptr + key_at, mask=there, other=0.0)
        scores = product(q, tl.trans(k), WIDEN) * scale  # [t,l]
        seen = columns[None, :] < L
        if CAUSAL:
            seen = seen & (columns[None, :] <= rows[:, None] + (L - T))
        scores = tl.where(seen, scores, float("-inf"))
        # Key 0 is in the first tile and every row sees it: from then on the maximum is finite.
        higher = tl.maximum(highest, tl.max(scores, 1))
        p = tl.exp(scores - higher[:, None])
        shrink = tl.exp(highest - higher)
        total = total * shrink + tl.sum(p, 1)
        sum_v = sum_v * shrink[:, None] + product(p.to(v.dtype), v, WIDEN)
        highest = higher
    out = sum_v / total[:, None]
    tl.store(out_ptr + at, out.to(q.dtype), mask=(rows[:, None] < T) & inside)
    tl.store(lse_ptr + head * T + rows, highest + tl.log(total), mask=rows < T)


@triton.jit
def tile_of_gradient(
    q, k, v, grad, lse, d, rows, columns, T, L, scale, CAUSAL: tl.constexpr, WIDEN: tl.constexpr
):  # fmt: skip
    """-> (p, ds), both [t, l]: p made again from the logsumexp, ds = p * (grad v^T - d) * scale."""
    scores = product(q, tl.trans(k), WIDEN) * scale
    seen = columns[None, :] < L
    if CAUSAL:
        seen = seen & (columns[None, :] <= rows[:, None] + (L - T))
    # Rows beyond T have a logsumexp of +inf: their p is 0.
    p = tl.where(seen, tl.exp(scores - lse[:, None]), 0.0)
    return p, p * (product(grad, tl.trans(v), WIDEN) - d[:, None]) * scale


@triton.jit
def backward_q(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, d_ptr, dq_ptr, T, L, H, G, scale,
    C: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head, over all keys it sees: dq = sum of ds k."""
    tile = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)  # b * H + h
    kv_head = (head // H) * (H // G) + (head % H) // G  # b * K + h // G
    rows = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)  # [t]
    wide = tl.arange(0, WIDTH)  # [c]
    inside = wide[None, :] < C
    at = head * T * C + rows[:, None] * C + wide[None, :]
    q = tl.load(q_ptr + at, mask=(rows[:, None] < T) & inside, other=0.0)  # [t,c]
    grad = tl.load(grad_ptr + at, mask=(rows[:, None] < T) & inside, other=0.0)
    lse = tl.load(lse_ptr + head * T + rows, mask=rows < T, other=float("inf"))  # [t]
    d = tl.load(d_ptr + head * T + rows, mask=rows < T, other=0.0)
    dq = tl.zeros([BLOCK_Q, WIDTH], tl.float32)
    end = L
    if CAUSAL:
        end = tl.minimum(L, (tile + 1) * BLOCK_Q + L - T)
    for first in range(0, end, BLOCK_K):
        columns = first + tl.arange(0, BLOCK_K)  # [l]
        key_at = kv_head * L * C + columns[:, None] * C + wide[None, :]
        there = (columns[:, None] < L) & inside
        k = tl.load(k_ptr + key_at, mask=there, other=0.0)  # [l,c]
        v = tl.load(v_ptr + key_at, mask=there, other=0.0)
        _, ds = tile_of_gradient(q, k, v, grad, lse, d, rows, columns, T, L, scale, CAUSAL, WIDEN)
        dq += product(ds.to(k.dtype), k, WIDEN)
    tl.store(dq_ptr + at, dq.to(q.dtype), mask=(rows[:, None] < T) & inside)


@triton.jit
def backward_kv(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, d_ptr, dk_ptr, dv_ptr, T, L, H, G, scale,
    C: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One tile of keys of one key/value head, over all queries that see it, of all its G query heads."""
    tile = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)  # b * K + kv
    columns = tile * BLOCK_K + tl.arange(0, BLOCK_K)  # [l]
    wide = tl.arange(0, WIDTH)  # [c]
    inside = wide[None, :] < C
    key_at = kv_head * L * C + columns[:, None] * C + wide[None, :]
    there = (columns[:, None] < L) & inside
    k = tl.load(k_ptr + key_at, mask=there, other=0.0)  # [l,c]
    v = tl.load(v_ptr + key_at, mask=there, other=0.0)
    dk = tl.zeros([BLOCK_K, WIDTH], tl.float32)
    dv = tl.zeros([BLOCK_K, WIDTH], tl.float32)
    start = 0
    if CAUSAL:
        # The first tile of queries of which one sees this tile of keys.
        start = tl.maximum(0, tile * BLOCK_K - (L - T)) // BLOCK_Q * BLOCK_Q
    for g in range(0, G):
        head = kv_head * G + g  # b * H + h, since H = K * G
        for first in range(start, T, BLOCK_Q):
            rows = first + tl.arange(0, BLOCK_Q)  # [t]
            at = head * T * C + rows[:, None] * C + wide[None, :]
            q = tl.load(q_ptr + at, mask=(rows[:, None] < T) & inside, other=0.0)  # [t,c]
            grad = tl.load(grad_ptr + at, mask=(rows[:, None] < T) & inside, other=0.0)
            lse = tl.load(lse_ptr + head * T + rows, mask=rows < T, other=float("inf"))  # [t]
            d = tl.load(d_ptr + head * T + rows, mask=rows < T, other=0.0)
            p, ds = tile_of_gradient(q, k, v, grad, lse, d, rows, columns, T, L, scale, CAUSAL, WIDEN)
            dv += product(tl.trans(p.to(grad.dtype)), grad, WIDEN)
            dk += product(tl.trans(ds.to(q.dtype)), q, WIDEN)
    tl.store(dk_ptr + key_at, dk.to(k.dtype), mask=there)
    tl.store(dv_ptr + key_at, dv.to(v.dtype), mask=there)
