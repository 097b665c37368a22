"""Linear recurrences over matrix states, each in two equal forms: chunk by chunk for training, token by token.

A state S [C, C'] maps keys to values. With queries q_t, keys k_t [C], values v_t [C'] and decays a_t = exp(g_t):

    decayed   S_t = a_t S_{t-1} + k_t v_t^T                                  o_t = q_t^T S_t
    delta     S_t = a_t S_{t-1} + b_t k_t (v_t - a_t S_{t-1}^T k_t)^T        o_t = q_t^T S_t
    channels  S_t = diag(a_t) S_{t-1} + e_t (z_t^T S_{t-1}) + k_t v_t^T      o_t = q_t^T S_t or q_t^T S_{t-1}

a_t is one number per head in the first two, one per key channel in the third. Inside a chunk of c tokens all is
matrix products over c x c; between chunks only the state travels: O(T c) work, and O(1) memory at decoding.
One chunk as long as the text is the parallel (attention-like) form; chunks of one token are the recurrence.
All exponents are sums of logarithms of decays, so <= 0: nothing overflows however strong the decay.

Letters: B batch, H heads, T time, N chunks, c tokens of a chunk, C key width, C' value width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Result = tuple[Tensor, Tensor]
"""Outputs [B, H, T, C'] and the state after the last token [B, H, C, C']."""


def in_chunks(x: Tensor, size: int) -> Tensor:
    """[B, H, T, ...] -> [B, H, N, c, ...]; zeros fill the last chunk (no key, no decay: they leave no trace)."""
    missing = -x.shape[2] % size
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 3) + (0, missing))
    return x.reshape(*x.shape[:2], -1, size, *x.shape[3:])


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """Zeros [B, H, C, C'] for keys [B, H, T, C] and values [B, H, T, C']."""
    return k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])


def sums_between(g: Tensor) -> Tensor:
    """g_{i+1} + ... + g_t where i <= t, else -inf: [..., c] -> [..., c (t), c (i)].

    Summed apart for every i. The difference of two running sums would be cheaper, but after one very strong decay
    its rounding swamps the weak ones that follow.
    """
    c = g.shape[-1]
    ones = torch.ones(c, c, dtype=torch.bool, device=g.device)
    terms = torch.where(ones.tril(-1), g[..., :, None], 0.0)
    return torch.where(ones.tril(), terms.cumsum(-2), float("-inf"))


def until_before(sums: Tensor) -> Tensor:
    """The same up to t - 1, where i < t, else -inf: what a token sees that reads before it writes."""
    return F.pad(sums[..., :-1, :], (0, 0, 1, 0), value=float("-inf"))


def decayed(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor | None, chunk: int) -> Result:
    """q, k [B, H, T, C], v [B, H, T, C'], g [B or 1, H, T] <= 0; chunks of `chunk` tokens."""
    T = q.shape[2]
    state = empty_state(k, v) if state is None else state
    if T == 1:
        state = g[..., None].exp() * state + k.transpose(-1, -2) * v
        return q @ state, state
    q, k, v, g = (in_chunks(x, min(chunk, T)) for x in (q, k, v, g))  # [B,H,N,c,...]
    L = g.cumsum(-1).exp()  # [B,H,N,c]: what of the state before the chunk is left
    left = sums_between(g).exp()  # [B,H,N,c,c]: what of token i is left at t
    inside = (q @ k.transpose(-1, -2) * left) @ v  # [B,H,N,c,C']
    written = (k * left[..., -1, :, None]).transpose(-1, -2) @ v  # [B,H,N,C,C']
    before = []
    for n in range(q.shape[2]):
        before.append(state)
        state = L[:, :, n, -1:, None] * state + written[:, :, n]
    out = inside + (q * L[..., None]) @ torch.stack(before, dim=2)
    return out.flatten(2, 3)[:, :, :T], state


def delta(q: Tensor, k: Tensor, v: Tensor, b: Tensor, g: Tensor, state: Tensor | None, chunk: int) -> Result:
    """As `decayed` with writing strengths b [B, H, T]: what the state already answers to k_t is not written again.

    The products of (I - b k k^T) inside a chunk are undone by one triangular system (the WY form, DeltaNet
    arXiv:2406.06484, section 3; with decay Gated DeltaNet arXiv:2412.06464, section 3.3).
    """
    T = q.shape[2]
    state = empty_state(k, v) if state is None else state
    if T == 1:
        state = g[..., None].exp() * state
        state = state + (b[..., None] * k).transpose(-1, -2) * (v - k @ state)
        return q @ state, state
    q, k, v, b, g = (in_chunks(x, min(chunk, T)) for x in (q, k, v, b, g))
    L = g.cumsum(-1).exp()  # [B,H,N,c]
    left = sums_between(g).exp()  # [B,H,N,c,c]
    kb = k * b[..., None]
    # u_t, what token t really writes: (1 + A) u = b v - (b L k) S, A_ti = b_t left_ti k_t.k_i, i < t
    A = (kb @ k.transpose(-1, -2) * left).tril(-1)
    right = torch.cat((v * b[..., None], kb * L[..., None]), dim=-1)  # [B,H,N,c,C'+C]
    solved = torch.linalg.solve_triangular(A, right, upper=False, unitriangular=True)
    fresh, known = solved.split((v.shape[-1], k.shape[-1]), dim=-1)
    scores = q @ k.transpose(-1, -2) * left
    q, k = q * L[..., None], k * left[..., -1, :, None]
    out = []
    for n in range(q.shape[2]):
        u = fresh[:, :, n] - known[:, :, n] @ state  # [B,H,c,C']
        out.append(q[:, :, n] @ state + scores[:, :, n] @ u)
        state = L[:, :, n, -1:, None] * state + k[:, :, n].transpose(-1, -2) @ u
    return torch.cat(out, dim=2)[:, :, :T], state


def _pairs(x: Tensor, y: Tensor, left: Tensor) -> Tensor:
    """sum over channels of x_t y_i left_ti: x, y [B, H, c, C], left [B, H, C, c, c] -> [B, H, c, c].

    Every pair has its own factor <= 1: the product of a factor for t and one for i would overflow.
    """
    return torch.einsum("bhtc,bhic,bhcti->bhti", x, y, left)


def channels(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor | None, chunk: int) -> Result:
    """Decay per key channel, g [B, H, T, C] <= 0, and the state read before token t writes: o_t = q_t^T S_{t-1}."""
    T = q.shape[2]
    state = empty_state(k, v) if state is None else state
    if T == 1:
        return q @ state, g.transpose(-1, -2).exp() * state + k.transpose(-1, -2) * v
    out = []
    for at in range(0, T, chunk):
        qn, kn, vn, gn = (x[:, :, at : at + chunk] for x in (q, k, v, g))  # [B,H,c,...]
        sums = sums_between(gn.transpose(-1, -2))  # [B,H,C,c,c]
        L = gn.cumsum(2)
        inside = _pairs(qn, kn, until_before(sums).exp()) @ vn
        out.append((qn * _before(L).exp()) @ state + inside)
        left = sums[..., -1, :].transpose(-1, -2).exp()  # [B,H,c,C]: of token i at the end of the chunk
        state = L[:, :, -1, :, None].exp() * state + (kn * left).transpose(-1, -2) @ vn
    return torch.cat(out, dim=2), state


def _before(L: Tensor) -> Tensor:
    """Running sums up to the token before: [B, H, c, C]."""
    return F.pad(L[:, :, :-1], (0, 0, 1, 0))


def channels_delta(
    q: Tensor, k: Tensor, v: Tensor, z: Tensor, e: Tensor, g: Tensor, state: Tensor | None, chunk: int
) -> Result:
    """The third line whole: z, e [B, H, T, C], o_t = q_t^T S_t. RWKV-7's generalised delta rule."""
    T = q.shape[2]
    state = empty_state(k, v) if state is None else state
    if T == 1:
        kept = g.transpose(-1, -2).exp() * state
        state = kept + e.transpose(-1, -2) * (z @ state) + k.transpose(-1, -2) * v
        return q @ state, state
    out = []
    for at in range(0, T, chunk):
        qn, kn, vn, zn, en, gn = (x[:, :, at : at + chunk] for x in (q, k, v, z, e, g))
        sums = sums_between(gn.transpose(-1, -2))  # [B,H,C,c,c]
        L, now, earlier = gn.cumsum(2), sums.exp(), until_before(sums).exp()
        # u_t = z_t^T S_{t-1}: (1 - A) u = (z exp(L_{t-1})) S + (pairs of z and k) v
        A = _pairs(zn, en, earlier)
        right = (zn * _before(L).exp()) @ state + _pairs(zn, kn, earlier) @ vn
        u = torch.linalg.solve_triangular(-A, right, upper=False, unitriangular=True)  # [B,H,c,C']
        seen = _pairs(qn, kn, now) @ vn + _pairs(qn, en, now) @ u
        out.append((qn * L.exp()) @ state + seen)
        left = now[..., -1, :].transpose(-1, -2)  # [B,H,c,C]
        state = L[:, :, -1, :, None].exp() * state
        state = state + (kn * left).transpose(-1, -2) @ vn + (en * left).transpose(-1, -2) @ u
    return torch.cat(out, dim=2), state
