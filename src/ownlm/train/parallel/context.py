"""Context parallelism: every process has a part of each sequence, and keys and values travel around a ring
(Liu et al. 2023, "Ring Attention with Blockwise Transformers", arXiv:2310.01889).

    zig-zag, p = 3:   chunks  0 1 2 3 4 5  of a sequence      process 0: 0 5    process 1: 1 4    process 2: 2 3
    round s: process r works on keys and values of process r - s, while it passes them on to r + 1

A causal query sees only what is before it: with consecutive parts the last process would work p times as long as the
first. Early and late chunks together give every process 2p + 1 of the (query chunk, key chunk) pairs, 2 in each round
and one more (two of three being half masked) in its own. Softmax over what arrives in rounds: the online form, with
the logarithm of its sum kept for the backward pass, in which the gradients of keys and values travel home with them.
Everything but attention works on each token alone, so the decoder is not changed: attention's forward and the
positions are replaced. Scores of one pair of chunks are held at a time, T^2 / (4 p^2) per head, in float32.

Letters: B rows, T tokens of a sequence, S = T/p of them here, p processes, H query heads, K key/value heads,
G = H/K, C head width, D model width.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import Attention
from ownlm.model.place import Cache, Place
from ownlm.model.position import rotate
from ownlm.train.batches import Batch
from ownlm.train.parallel.mesh import Mesh


def order(num_tokens: int, p: int, rank: int) -> Tensor:
    """int64 [T/p]: the positions of a sequence that a process has, chunks `rank` and 2p - 1 - `rank`.

    Raises UsageError where 2p does not divide T.
    """
    if num_tokens % (2 * p):
        below = num_tokens // (2 * p) * 2 * p
        raise UsageError(
            "A sequence cannot be cut into two equal chunks per process.",
            f"{num_tokens} tokens, cp = {p}",
            f"use a context of {below or 2 * p} or {below + 2 * p} tokens",
        )
    chunks = torch.arange(num_tokens).view(2 * p, -1)
    return torch.cat([chunks[rank], chunks[2 * p - 1 - rank]])


def share(batch: Batch, mesh: Mesh) -> Batch:
    """This process's columns. Raises UsageError for a batch with more than inputs and targets: what its further
    tensors mean for a part of a sequence is not known here."""
    p = mesh.size("cp")
    if p == 1:
        return batch
    if batch.extra:
        raise UsageError(
            "These batches cannot be cut along the sequence.",
            f"they also hold {', '.join(sorted(batch.extra))}",
            "use cp = 1 with this objective",
        )
    mine = order(batch.inputs.shape[1], p, mesh.at("cp"))
    return Batch(batch.inputs[:, mine], batch.targets[:, mine])


def spread(model: nn.Module, mesh: Mesh) -> None:
    """Let a decoder work on parts of sequences, in place. Raises UsageError for layers that mix tokens otherwise."""
    if mesh.size("cp") == 1:
        return
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            if module.spec.softcap is not None:
                raise UsageError(
                    "Ring attention does not know capped scores.", f"{name}: softcap", "use cp = 1"
                )
        elif name.endswith(".mixer"):
            raise UsageError(
                "This layer cannot work on a part of a sequence.",
                f"{name}: {type(module).__name__}",
                "use cp = 1, or layers of grouped-query attention",
            )
    for module in model.modules():
        if isinstance(module, Attention):
            ring = Ring(mesh, module.scale, module.spec.window)
            module.forward = MethodType(lambda self, x, place, cache=None, ring=ring: _attend(self, x, place, cache, ring), module)  # type: ignore[method-assign]  # fmt: skip
    place_tokens(model, mesh)


def place_tokens(model: nn.Module, mesh: Mesh) -> None:
    """Tell a decoder (or a stage of one) where the tokens of a part stand."""
    if mesh.size("cp") == 1:
        return
    plain = type(model).hidden  # type: ignore[attr-defined]

    def hidden(
        self: nn.Module, ids: Tensor, cache: Cache | None = None, positions: Tensor | None = None
    ) -> Tensor:
        if cache is not None or positions is not None:
            raise UsageError(
                "A part of a sequence takes no cache and no other positions.", "cp > 1", "use cp = 1"
            )
        whole = ids.shape[1] * mesh.size("cp")
        mine = order(whole, mesh.size("cp"), mesh.at("cp")).to(ids.device)[None]  # [1,S]
        return plain(self, ids, None, mine)  # type: ignore[no-any-return]

    model.hidden = MethodType(hidden, model)  # type: ignore[assignment]


def _attend(attention: Attention, x: Tensor, place: Place, cache: Cache | None, ring: Ring) -> Tensor:
    """What `Attention.forward` does, with the ring in place of its kernel: x [B, S, D] -> [B, S, D]."""
    B, S, _ = x.shape
    q, k, v = attention.heads(x)
    if place.cos is not None and place.sin is not None:
        pairs = attention.spec.rope is not None and attention.spec.rope.interleaved
        q, k = rotate(q, place.cos, place.sin, pairs), rotate(k, place.cos, place.sin, pairs)
    q, k = attention.tap("rotated_q", q), attention.tap("rotated_k", k)
    mixed = attention.tap("mixed", ring_attention(q, k, v, ring))  # [B,H,S,C]
    out: Tensor = attention.o(mixed.transpose(1, 2).reshape(B, S, -1))
    return out


class Ring:
    """The processes of one sequence, and what attention is among them."""

    def __init__(self, mesh: Mesh, scale: float, window: int | None = None) -> None:
        self.p, self.rank, self.group = mesh.size("cp"), mesh.at("cp"), mesh.groups["cp"]
        self.scale, self.window = scale, window

    def pairs(self, source: int) -> list[tuple[int, int]]:
        """(own chunk, chunk of `source`), each 0 or 1, where some key is not later than every query."""
        mine, theirs = (self.rank, 2 * self.p - 1 - self.rank), (source, 2 * self.p - 1 - source)
        return [(a, b) for a in (0, 1) for b in (0, 1) if theirs[b] <= mine[a]]

    def mask(self, source: int, a: int, b: int, length: int, device: torch.device) -> Tensor | None:
        """bool [S/2, S/2], True where a query may look; None: everywhere."""
        mine = (self.rank, 2 * self.p - 1 - self.rank)[a]
        theirs = (source, 2 * self.p - 1 - source)[b]
        if mine != theirs and self.window is None:
            return None
        inside = torch.arange(length, device=device)
        back = (mine - theirs) * length + inside[:, None] - inside  # how far a key lies behind a query
        return (back >= 0) & (back < (self.window or self.p * 2 * length))

    def pass_on(self, tensor: Tensor) -> tuple[Tensor, list[dist.Work]]:
        """Begin to send to the next process; (where the previous one's arrives, what to wait for)."""
        arriving = torch.empty_like(tensor)
        sends = dist.P2POp(dist.isend, tensor, group=self.group, group_peer=(self.rank + 1) % self.p)
        receives = dist.P2POp(dist.irecv, arriving, group=self.group, group_peer=(self.rank - 1) % self.p)
        both = [sends, receives] if self.rank % 2 == 0 else [receives, sends]
        return arriving, dist.batch_isend_irecv(both)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def ring_attention(q: Tensor, k: Tensor, v: Tensor, ring: Ring) -> Tensor:
    """softmax(scale q k^T) v, causal, over the whole sequence: q [B, H, S, C], k and v [B, K, S, C] -> [B, H, S, C].

    Tokens lie in the order of `order`. Products and softmax in float32, whatever the inputs' dtype.
    """
    out: Tensor = _RingAttention.apply(q, k, v, ring)  # type: ignore[no-untyped-call]
    return out


class _RingAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, ring: Ring) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            queries = _grouped(q, k.shape[1])  # [B,K,G,2,S/2,C]
            out = torch.zeros_like(queries)
            log_sum = queries.new_full(queries.shape[:-1], float("-inf"))  # [B,K,G,2,S/2]
            travelling = torch.stack([k, v])  # [2,B,K,S,C]
            for turn in range(ring.p):
                source = (ring.rank - turn) % ring.p
                arriving, pending = ring.pass_on(travelling) if turn < ring.p - 1 else (travelling, [])
                keys, values = _halves(travelling)
                for a, b in ring.pairs(source):
                    scores = _scores(queries[..., a, :, :], keys[..., b, :, :], ring, source, a, b)
                    here = scores.logsumexp(-1)
                    both = torch.logaddexp(log_sum[..., a, :], here)
                    # A window may hide all keys so far: then nothing has weight yet, and -inf less -inf is no number.
                    seen = both.masked_fill(both == float("-inf"), 0.0)[..., None]
                    part = (scores - seen).exp() @ values[..., b, :, :].unsqueeze(2)
                    out[..., a, :, :] = out[..., a, :, :] * (log_sum[..., a, :, None] - seen).exp() + part
                    log_sum[..., a, :] = both
                for work in pending:
                    work.wait()
                travelling = arriving
            ctx.ring, ctx.shape = ring, q.shape
            ctx.save_for_backward(q, k, v, out, log_sum)
            return out.reshape(q.shape).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, log_sum = ctx.saved_tensors
        ring: Ring = ctx.ring
        queries, grad_out = _grouped(q, k.shape[1]), _grouped(upstream[0], k.shape[1])
        delta = (grad_out * out).sum(-1)  # [B,K,G,2,S/2]
        grad_q = torch.zeros_like(queries)
        travelling = torch.stack([k, v])
        grads = torch.zeros(travelling.shape, dtype=torch.float32, device=q.device)  # of what is here, so far
        for turn in range(ring.p):
            source = (ring.rank - turn) % ring.p
            arriving, pending = ring.pass_on(travelling) if turn < ring.p - 1 else (travelling, [])
            keys, values = _halves(travelling)
            grad_keys, grad_values = _halves(grads)  # views
            for a, b in ring.pairs(source):
                key, value = (
                    keys[..., b, :, :].unsqueeze(2),
                    values[..., b, :, :].unsqueeze(2),
                )  # [B,K,1,S/2,C]
                scores = _scores(queries[..., a, :, :], keys[..., b, :, :], ring, source, a, b)
                pattern = (scores - log_sum[..., a, :, None]).exp()  # [B,K,G,S/2,S/2]
                above = grad_out[..., a, :, :]
                grad_values[..., b, :, :] += (pattern.transpose(-1, -2) @ above).sum(2)
                slope = pattern * (above @ value.transpose(-1, -2) - delta[..., a, :, None]) * ring.scale
                grad_q[..., a, :, :] += slope @ key
                grad_keys[..., b, :, :] += (slope.transpose(-1, -2) @ queries[..., a, :, :]).sum(2)
            next_grads, more = ring.pass_on(grads)  # p rounds: the last one brings them home
            for work in (*pending, *more):
                work.wait()
            travelling, grads = arriving, next_grads
        return grad_q.reshape(q.shape).to(q.dtype), grads[0].to(k.dtype), grads[1].to(v.dtype), None


def _grouped(q: Tensor, K: int) -> Tensor:
    """[B, H, S, C] -> float32 [B, K, G, 2, S/2, C]."""
    B, H, S, C = q.shape
    return q.reshape(B, K, H // K, 2, S // 2, C).float()


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    """[2, B, K, S, C] -> keys and values, float32 [B, K, 2, S/2, C] (views where it is float32 already)."""
    _, B, K, S, C = both.shape
    keys, values = both.view(2, B, K, 2, S // 2, C).float()
    return keys, values


def _scores(queries: Tensor, keys: Tensor, ring: Ring, source: int, a: int, b: int) -> Tensor:
    """queries [B, K, G, S/2, C], keys [B, K, S/2, C] -> [B, K, G, S/2, S/2], -inf where a query may not look."""
    scores = queries @ keys.unsqueeze(2).transpose(-1, -2) * ring.scale
    mask = ring.mask(source, a, b, keys.shape[-2], keys.device)
    return scores if mask is None else scores.masked_fill(~mask, float("-inf"))
