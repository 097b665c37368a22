"""Encoder-decoder: a source is read in both directions, a target is written from left to right while looking at it.

      source ids ── embedding ── encoder ── memory [B,S,D]
                                               │ attended to by every decoder layer
      target ids ── embedding ── decoder ──────┴── output layer ── logits [B,T,V]

`original_transformer` is Vaswani et al. 2017 (arXiv:1706.03762); t5.py and bart.py are other compositions.

Letters: B batch, S source time, T target time, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.attention.cross import CrossAttention, Heads, padding_mask
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.place import DecodeCache
from ownlm.model.stack import DecoderStack, EncoderStack, Stack


@dataclass(frozen=True, slots=True)
class EncoderDecoderConfig:
    """Everything that `EncoderDecoder` needs to know."""

    vocab_size: int
    hidden_size: int
    encoder: Stack
    decoder: Stack
    positions: Learned | Sinusoidal | None = None
    """Added to the embeddings, each side has its own table; None: the stacks know distances (T5)."""
    embedding_norm: Norm | None = None
    """After the embeddings of either side (BART)."""
    embedding_scale: float = 1.0
    tie_embeddings: bool = True
    """The output layer is the embedding matrix, which both sides share in any case."""
    hidden_scale: float = 1.0
    """The decoder's output is multiplied by this before the output layer (T5 1.0)."""
    output_bias: bool = False
    pad_id: int = 0
    start_id: int = 0
    """The first target token of a generation."""
    eos_id: int | None = 1
    """Ends a generation; None: nothing does."""
    family: str = ""
    initializer_range: float = 0.02

    def num_parameters(self) -> int:
        D, V = self.hidden_size, self.vocab_size
        found = V * D * (1 if self.tie_embeddings else 2) + (V if self.output_bias else 0)
        found += 0 if self.positions is None else 2 * self.positions.num_parameters(D)
        found += 0 if self.embedding_norm is None else 2 * self.embedding_norm.num_parameters(D)
        return found + self.encoder.num_parameters(D) + self.decoder.num_parameters(D, cross=True)

    def flops_per_token(self, context: int, *, training: bool = True) -> int:
        """Of one source token and one target token together, both texts `context` tokens long."""
        D = self.hidden_size
        forward = self.encoder.forward_flops(D, context) + self.decoder.forward_flops(D, context, cross=True)
        forward += 2 * D * self.vocab_size
        return 3 * forward if training else forward


class EncoderDecoder(nn.Module):
    """A sequence-to-sequence model; float32 weights drawn from `seed`."""

    def __init__(self, config: EncoderDecoderConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, D = config, config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, D)
        table, norm = config.positions, config.embedding_norm
        self.encoder_positions = None if table is None else table.build(D)
        self.decoder_positions = None if table is None else table.build(D)
        self.encoder_embedding_norm = None if norm is None else norm.build(D)
        self.decoder_embedding_norm = None if norm is None else norm.build(D)
        self.encoder, self.decoder = EncoderStack(config.encoder, D), DecoderStack(config.decoder, D)
        self.output = None if config.tie_embeddings else nn.Linear(D, config.vocab_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size)) if config.output_bias else None
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Matrices: normal with standard deviation (input width) ** -0.5, which suits unscaled dot products too
        where q also gets C ** -0.5 (T5); embeddings and tables initializer_range; norms and biases as made."""
        generator = torch.Generator(device=self.embedding.weight.device).manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, self.config.initializer_range, generator=generator)
        for stack in (self.encoder, self.decoder):
            for weight in () if stack.relative is None else stack.relative.parameters():
                weight.normal_(0.0, self.config.hidden_size**-0.5, generator=generator)
        for module in self.modules():
            if isinstance(module, CrossAttention) and module.spec.scale is not None:
                module.q.weight.mul_(module.spec.head_dim**-0.5 / module.spec.scale)

    def forward(
        self, ids: Tensor, target_ids: Tensor, mask: Tensor | None = None, cache: DecodeCache | None = None
    ) -> Tensor:
        """Source ids [B, S], target ids [B, T], mask [B, S] (0 = padding) -> logits [B, T, V].

        Logits at a target token are of the next one. With a cache the target goes on where it stands; give
        `decode` the memory instead of computing it again for each token.
        """
        return self.decode(target_ids, self.encode(ids, mask), mask, cache)

    def encode(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Source ids [B, S] -> memory [B, S, D]."""
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self._embed(ids, positions, self.encoder_positions, self.encoder_embedding_norm)
        memory: Tensor = self.encoder(x, padding_mask(mask, ids), positions)
        return memory

    def decode(
        self, target_ids: Tensor, memory: Tensor, mask: Tensor | None = None, cache: DecodeCache | None = None
    ) -> Tensor:
        """Target ids [B, T], memory [B, S, D], mask [B, S] of the source -> logits [B, T, V]."""
        if cache is None:
            positions = torch.arange(target_ids.shape[1], device=target_ids.device)[None]
        else:
            positions = cache.begin(target_ids.shape[1], target_ids.device)
        x = self._embed(target_ids, positions, self.decoder_positions, self.decoder_embedding_norm)
        x = self.decoder(x, memory, padding_mask(mask, memory[..., 0]), positions, cache)
        if cache is not None:
            cache.end()
        weight = self.embedding.weight if self.output is None else self.output.weight
        scaled = x * self.config.hidden_scale if self.config.hidden_scale != 1.0 else x
        return F.linear(scaled, weight, self.output_bias)

    def _embed(
        self, ids: Tensor, positions: Tensor, table: nn.Module | None, norm: nn.Module | None
    ) -> Tensor:
        x = self.embedding(ids) * self.config.embedding_scale  # [B,T,D]
        if table is not None:
            x = x + table(positions)
        return x if norm is None else norm(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def generate(
        self, ids: Tensor, max_tokens: int, mask: Tensor | None = None, cached: bool = True
    ) -> Tensor:
        """Greedy targets [B, N] of source ids [B, S], without the start token, N <= max_tokens; after its eos_id a
        row goes on with pad_id. cached=False computes everything again for each token: the readable reference."""
        if max_tokens < 1:
            raise UsageError("Nothing is to be generated.", f"max_tokens = {max_tokens}", "give at least 1")
        memory, cache = self.encode(ids, mask), self.new_cache() if cached else None
        target = torch.full((ids.shape[0], 1), self.config.start_id, dtype=torch.int64, device=ids.device)
        done = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
        for _ in range(max_tokens):
            logits = self.decode(target[:, -1:] if cached else target, memory, mask, cache)
            token = torch.where(done, self.config.pad_id, logits[:, -1].argmax(-1))  # [B]
            target = torch.cat((target, token[:, None]), dim=1)
            if self.config.eos_id is not None:
                done |= token == self.config.eos_id
                if bool(done.all()):
                    break
        return target[:, 1:]

    def new_cache(self) -> DecodeCache:
        """An empty cache for one batch of sources and targets."""
        return DecodeCache((None,) * self.config.decoder.num_layers)

    def num_parameters(self) -> int:
        return self.config.num_parameters()

    def flops_per_token(self, context: int) -> int:
        """Training operations of one source and one target token at this length of both texts."""
        return self.config.flops_per_token(context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Bytes that each target token adds; each source token adds as much again, once."""
        attention = self.config.decoder.attention
        per_layer = attention.cache_bytes_per_token(dtype_bytes) if isinstance(attention, Heads) else 0
        return self.config.decoder.num_layers * per_layer


def original_transformer(
    vocab_size: int,
    hidden_size: int = 512,
    num_layers: int = 6,
    num_heads: int = 8,
    intermediate_size: int = 2048,
    *,
    max_positions: int = 5000,
    bias: bool = True,
) -> EncoderDecoderConfig:
    """The model of arXiv:1706.03762: sinusoids, post-norm, ReLU, one matrix for both embeddings and the output."""
    if hidden_size % num_heads:
        raise UsageError(
            "hidden_size must be a multiple of num_heads.", f"{hidden_size}, {num_heads}", "change one"
        )
    side = Stack(
        num_layers,
        Heads(num_heads, hidden_size // num_heads, bias),
        FeedForward(intermediate_size, "relu", gated=False, bias=True),
        Norm("layer", 1e-5, bias=True),
    )
    return EncoderDecoderConfig(
        vocab_size,
        hidden_size,
        side,
        side,
        Sinusoidal(max_positions),
        embedding_scale=hidden_size**0.5,
        initializer_range=hidden_size**-0.5,
    )
