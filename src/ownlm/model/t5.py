"""T5 (Raffel et al. 2019, arXiv:1910.10683) and ByT5 (Xue et al. 2021, arXiv:2105.13626) as an encoder-decoder:
pre-norm RMS layers without biases, unscaled dot products, and a trained bias per bucket of distance and head.

Letters: T queries, S keys, H heads, N buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.cross import Heads
from ownlm.model.encoder_decoder import EncoderDecoderConfig
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import Stack


@dataclass(frozen=True, slots=True)
class RelativeBuckets:
    """A score bias per head and bucket of distance, shared by all layers of a stack (section 2.1)."""

    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128
    """From here on all distances share the last bucket."""
    bidirectional: bool = True
    """Half of the buckets for keys after the query; else these share the bucket of distance 0."""

    def __post_init__(self) -> None:
        exact = self.num_buckets // (4 if self.bidirectional else 2)
        if exact < 1 or self.max_distance <= exact:
            raise UsageError("These buckets cannot be laid out.", str(self),
                             f"num_buckets >= {4 if self.bidirectional else 2} and max_distance > {exact}")  # fmt: skip

    def build(self, width: int) -> RelativeBias:
        return RelativeBias(self)

    def num_parameters(self, width: int) -> int:
        return self.num_buckets * self.num_heads


class RelativeBias(nn.Module):
    def __init__(self, spec: RelativeBuckets) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.zeros(spec.num_buckets, spec.num_heads))  # [N,H]

    def forward(self, positions: Tensor, keys: Tensor) -> Tensor:
        """positions [1, T], keys [1, S] -> [1, H, T, S]."""
        ahead = keys[:, None, :] - positions[:, :, None]  # [1,T,S]
        return self.weight[buckets(ahead, self.spec)].permute(0, 3, 1, 2)


def buckets(ahead: Tensor, spec: RelativeBuckets) -> Tensor:
    """Position of the key minus that of the query, int64 -> bucket of each, int64.

    Half of a side's buckets hold one distance each; the others grow by a constant factor up to max_distance.
    """
    side = spec.num_buckets // 2 if spec.bidirectional else spec.num_buckets
    start = (ahead > 0) * side if spec.bidirectional else torch.zeros_like(ahead)
    distance = ahead.abs() if spec.bidirectional else (-ahead).clamp(min=0)
    exact = side // 2
    # In float32 as the published weights were trained: bucket borders are sensitive to rounding.
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(spec.max_distance / exact)
    far = (exact + (growth * (side - exact)).long()).clamp(max=side - 1)
    return start + torch.where(distance < exact, distance, far)


def t5(
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    intermediate_size: int,
    *,
    num_decoder_layers: int | None = None,
    head_dim: int = 64,
    activation: str = "relu",
    gated: bool = False,
    tie_embeddings: bool = True,
    scale_logits: bool | None = None,
    num_buckets: int = 32,
    max_distance: int = 128,
    norm_eps: float = 1e-6,
    pad_id: int = 0,
    eos_id: int | None = 1,
    start_id: int | None = None,
) -> EncoderDecoderConfig:
    """T5 1.0 by default; 1.1 is activation="gelu_tanh", gated=True, tie_embeddings=False.

    scale_logits: the hidden state is multiplied by hidden_size ** -0.5 before the output layer; None: where
    it is tied. start_id: the first target token; None: pad_id, as T5 was trained.
    """
    attention = Heads(num_heads, head_dim, bias=False, scale=1.0)
    ffn, norm = FeedForward(intermediate_size, activation, gated), Norm("rms", norm_eps)

    def side(layers: int, bidirectional: bool) -> Stack:
        relative = RelativeBuckets(num_heads, num_buckets, max_distance, bidirectional)
        return Stack(layers, attention, ffn, norm, pre_norm=True, final_norm=True, relative=relative)

    scaled = tie_embeddings if scale_logits is None else scale_logits
    return EncoderDecoderConfig(
        vocab_size,
        hidden_size,
        side(num_layers, True),
        side(num_layers if num_decoder_layers is None else num_decoder_layers, False),
        tie_embeddings=tie_embeddings,
        hidden_scale=hidden_size**-0.5 if scaled else 1.0,
        pad_id=pad_id,
        start_id=pad_id if start_id is None else start_id,
        eos_id=eos_id,
        family="t5",
        initializer_range=1.0,  # as T5 was begun; the layers' norms and hidden_scale take the size away again
    )


BYTE_OFFSET = 3
"""ByT5: ids 0, 1, 2 are padding, end and unknown; byte b is id b + 3."""


def byte_ids(text: bytes, end: bool = True) -> list[int]:
    """ByT5's ids of a byte string; `end` appends the end id."""
    return [b + BYTE_OFFSET for b in text] + ([1] if end else [])


def text_of(ids: list[int]) -> bytes:
    """The bytes of ByT5 ids up to the first end id; padding is left out, an id of no byte raises UsageError."""
    found = bytearray()
    for n in ids:
        if n == 1:
            break
        if n == 0:
            continue
        if not BYTE_OFFSET <= n < BYTE_OFFSET + 256:
            raise UsageError(
                "This id is no byte.", str(n), f"bytes are ids {BYTE_OFFSET} to {BYTE_OFFSET + 255}"
            )
        found.append(n - BYTE_OFFSET)
    return bytes(found)
