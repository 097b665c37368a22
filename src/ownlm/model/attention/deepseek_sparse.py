"""DeepSeek sparse attention, DSA: latent attention over the few tokens that a cheap indexer picks
(DeepSeek-V3.2-Exp report, 2025, section 2; no arXiv number at its publication).

    I[t, s] = sum_h w_h(x_t) relu(q_h(t) . k(s))      the lightning indexer: few small heads, one key per token
    S_t     = the k visible tokens of highest I[t, s]
    out_t   = latent attention of t over S_t           in the absorbed form, on gathered latents

The choice has no gradient. The indexer learns from a loss of its own, the divergence of softmax(I_t) from what the
attention looked at (`aligning`), on inputs cut off from the rest of the model: first with full attention (the report's
warm-up), then with the sparse one. With k >= L everything is chosen and the layer is its `Latent`.

The report computes scores in fp8 after a Hadamard transform, which changes no exact dot product; we leave both out.

Letters: B batch, T time (new tokens), L keys to attend to, H heads, I index heads, J index head width, k chosen,
r latent width, R rotated width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.latent import Latent, LatentAttention, seen, turned
from ownlm.model.hooks import Tapped
from ownlm.model.layers import LayerNorm
from ownlm.model.place import Cache, Place
from ownlm.model.position import Rope

QUERIES_AT_ONCE = 64
"""Gathered latents take this times k * r numbers per row."""


@dataclass(frozen=True, slots=True)
class SparseLatent:
    """What a layer of this attention is."""

    attention: Latent
    num_chosen: int
    """k: tokens that a token looks at."""
    index_heads: int = 4
    """I."""
    index_dim: int = 32
    """J; the first `attention.rope_dim` of them are rotated."""

    def __post_init__(self) -> None:
        if min(self.num_chosen, self.index_heads) < 1 or self.index_dim < self.attention.rope_dim:
            raise UsageError(
                "num_chosen and index_heads must be positive, index_dim at least the rotated width.",
                f"{self.num_chosen}, {self.index_heads}, {self.index_dim} < {self.attention.rope_dim}",
                "correct them",
            )

    @property
    def rope(self) -> Rope | None:
        return self.attention.rope

    @property
    def head_dim(self) -> int:
        return self.attention.rope_dim

    def build(self, width: int, layer: int) -> SparseLatentAttention:
        return SparseLatentAttention(self, width, layer)

    def num_parameters(self, width: int) -> int:
        return self.attention.num_parameters(width) + self._index_weights(width) + 2 * self.index_dim

    def active_parameters(self, width: int) -> int:
        return self.attention.active_parameters(width) + self._index_weights(width)

    def _index_weights(self, width: int) -> int:
        source = self.attention.q_rank or width
        return source * self.index_heads * self.index_dim + width * (self.index_dim + self.index_heads)

    def mixing_flops(self, context: int) -> int:
        """The index over the whole context, attention over the chosen."""
        a = self.attention
        index = 2 * self.index_heads * (self.index_dim + 1) * context
        return index + 2 * a.num_heads * (2 * a.latent + a.rope_dim) * min(self.num_chosen, context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """The latent, the shared rotated key and the index key."""
        return self.attention.cache_bytes_per_token(dtype_bytes) + self.index_dim * dtype_bytes


class Indexer(Tapped):
    """Scores that say which tokens are worth a look."""

    POINTS: ClassVar = {"index_scores": "B T L"}

    def __init__(self, spec: SparseLatent, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.q = nn.Linear(spec.attention.q_rank or width, spec.index_heads * spec.index_dim, bias=False)
        self.k = nn.Linear(width, spec.index_dim, bias=False)
        self.k_norm = LayerNorm(spec.index_dim, 1e-6)
        self.head_weight = nn.Linear(width, spec.index_heads, bias=False)

    def key(self, x: Tensor, place: Place) -> Tensor:
        """x [B, T, D] -> [B, 1, T, J], rotated: the cache holds it."""
        return turned(self.k_norm(self.k(x))[:, None], place)

    def forward(self, x: Tensor, narrow: Tensor, keys: Tensor, place: Place) -> Tensor:
        """keys [B, 1, L, J] -> float32 scores [B, T, L], -inf where nothing may be seen."""
        B, T, _ = x.shape
        q = self.q(narrow).view(B, T, self.spec.index_heads, -1).transpose(1, 2)  # [B,I,T,J]
        q = turned(q, place)
        hits = (q.float() @ keys.float().transpose(-1, -2) * self.spec.index_dim**-0.5).relu()  # [B,I,T,L]
        weight = self.head_weight(x).float() * self.spec.index_heads**-0.5  # [B,T,I]
        scores = torch.einsum("bti,bitl->btl", weight, hits)
        mask = seen(place, T)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], float("-inf"))
        return self.tap("index_scores", scores)


class SparseLatentAttention(Tapped):
    """Inside `aligning`, each forward leaves the indexer's loss in `index_loss`."""

    POINTS: ClassVar = {"chosen": "B T k"}

    def __init__(self, spec: SparseLatent, width: int, layer: int) -> None:
        super().__init__()
        self.layer, self.spec = layer, spec
        self.attention = LatentAttention(spec.attention, width, layer)
        self.indexer = Indexer(spec, width)
        self.stage: str | None = None
        self.index_loss: Tensor | None = None

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        attention, narrow = self.attention, self.attention.narrow(x)
        q_nope, q_rot = attention.queries(narrow, place)
        latent, k_rot = attention.kept(x, place)
        apart = x.detach(), narrow.detach()  # the indexer's loss moves the indexer alone
        index_keys = self.indexer.key(apart[0], place)
        if cache is not None:  # two tensors are kept per layer: the pair as one, the index key beside it
            both, index_keys = cache.update(self.layer, torch.cat((latent, k_rot), dim=-1), index_keys)
            latent, k_rot = both.split((latent.shape[-1], k_rot.shape[-1]), dim=-1)
        scores = self.indexer(*apart, index_keys, place)  # [B,T,L]
        queries = torch.cat((attention.into_latent(q_nope), q_rot), dim=-1)  # [B,H,T,r+R]
        keys = torch.cat((latent, k_rot), dim=-1)[:, 0]  # [B,L,r+R]
        k = min(self.spec.num_chosen, scores.shape[-1])
        if self.stage == "dense":
            k = scores.shape[-1]
        chosen = self.tap("chosen", best(scores, k))  # [B,T,k]
        return attention.written(attention.out_of_latent(self.attend(queries, keys, scores, chosen)))

    def attend(self, queries: Tensor, keys: Tensor, scores: Tensor, chosen: Tensor) -> Tensor:
        """queries [B, H, T, r+R] on keys [B, L, r+R], of which `chosen` [B, T, k]: mixed latents [B, H, T, r]."""
        B, _, T, _ = queries.shape
        rows = torch.arange(B, device=keys.device)[:, None, None]
        found, losses = [], []
        for t in range(0, T, QUERIES_AT_ONCE):
            some = chosen[:, t : t + QUERIES_AT_ONCE]  # [B,t,k]
            gathered = keys[rows, some]  # [B,t,k,r+R]
            index = scores[:, t : t + QUERIES_AT_ONCE].gather(-1, some)  # [B,t,k]
            hits = queries[:, :, t : t + QUERIES_AT_ONCE].transpose(1, 2) @ gathered.transpose(
                -1, -2
            )  # [B,t,H,k]
            hits = (hits * self.attention.scale).masked_fill(
                index[:, :, None] == float("-inf"), float("-inf")
            )
            pattern = hits.softmax(dim=-1)
            found.append(pattern @ gathered[..., : self.spec.attention.latent])  # [B,t,H,r]
            if self.stage is not None:
                losses.append(divergence(pattern.detach(), index).sum())
        self.index_loss = torch.stack(losses).sum() / (B * T) if losses else None
        return torch.cat(found, dim=1).transpose(1, 2)


def best(scores: Tensor, k: int) -> Tensor:
    """Indices of the k highest of [..., L], int64 [..., k]; of equal ones the later.

    Ties are common (no head hits: exactly 0), and topk would break them otherwise with a cache than without.
    """
    order = scores.flip(-1).sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return scores.shape[-1] - 1 - order


def divergence(pattern: Tensor, index: Tensor) -> Tensor:
    """KL(p || softmax(index)), the report's eq. 3 and 4: pattern [..., H, k], index scores [..., k] -> [...].

    p is the sum of the heads' patterns, made to sum to 1; both run over the same keys, -inf in `index` excludes one.
    """
    p = pattern.float().sum(dim=-2)
    p = p / p.sum(dim=-1, keepdim=True)
    log_q = index.log_softmax(dim=-1).masked_fill(index == float("-inf"), 0.0)
    return (torch.xlogy(p, p) - p * log_q).sum(dim=-1)


def sparse_layers(model: nn.Module) -> Iterator[SparseLatentAttention]:
    return (module for module in model.modules() if isinstance(module, SparseLatentAttention))


@contextmanager
def aligning(model: nn.Module, *, dense: bool = False) -> Iterator[None]:
    """Inside, each forward computes what `index_loss` sums. dense: attention is full and the loss runs over all keys
    (the warm-up), else over the chosen."""
    with ExitStack() as stack:
        for layer in sparse_layers(model):
            stack.callback(setattr, layer, "stage", layer.stage)
            stack.callback(setattr, layer, "index_loss", None)
            layer.stage = "dense" if dense else "sparse"
        yield


def index_loss(model: nn.Module) -> Tensor:
    """Mean divergence per token, summed over layers: to be added to the model's own loss. UsageError if none."""
    losses = [layer.index_loss for layer in sparse_layers(model) if layer.index_loss is not None]
    if not losses:
        raise UsageError("There is no index loss.", type(model).__name__,
                         "run a model with SparseLatent layers inside `with aligning(model)`")  # fmt: skip
    return torch.stack(losses).sum()
