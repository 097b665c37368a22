"""The decoder: token ids in, logits out. One model, opinionated: Llama's architecture.

      ids [B,T] ── embedding ──┐
                               x ──────────────┬──────────────┬── ... ── norm ── output layer ── logits [B,T,V]
                               └ norm─attention┘└ norm─SwiGLU ┘
                                          one block

It knows nothing of training, serving, quantization or files. For speed compile each block alone, in place
(`for block in model.blocks: block.compile()`, which keeps the names of the weights): blocks have no graph
break and are all alike, so one compilation serves every layer.

Letters: B batch, T time, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.model import count
from ownlm.model.attention import Attention, Cache, causal_mask
from ownlm.model.config import ModelConfig
from ownlm.model.layers import RMSNorm, SwiGLU
from ownlm.model.position import Rope


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.feed_forward = SwiGLU(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class Decoder(nn.Module):
    """A Llama-style language model; float32 weights drawn from `seed`."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rope = Rope(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        # Tied: there is no second matrix, not even by name, so nothing can drift apart or be saved twice.
        self.output = (
            None if config.tie_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        )
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, initializer_range) for every matrix; the two that write into the residual stream are
        scaled by 1/sqrt(2 * layers), so that its variance does not grow with depth (GPT-2, section 2.3)."""
        generator = torch.Generator(device=self.embedding.weight.device).manual_seed(seed)
        residual = (2 * self.config.num_layers) ** -0.5
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0)
                continue
            writes = name.endswith(("attention.o.weight", "feed_forward.down.weight"))
            weight.normal_(
                0.0, self.config.initializer_range * (residual if writes else 1.0), generator=generator
            )

    def forward(self, ids: Tensor, cache: Cache | None = None, positions: Tensor | None = None) -> Tensor:
        """ids [B, T] int64 -> logits [B, T, V] in the weights' dtype; see `hidden` for cache and positions."""
        return self.logits(self.hidden(ids, cache, positions))

    def hidden(self, ids: Tensor, cache: Cache | None = None, positions: Tensor | None = None) -> Tensor:
        """ids [B, T] int64 -> the last layer's normed output [B, T, D].

        Without a cache the sequence starts at position 0 and attention is causal. With a cache, `positions`
        [B, T] int64 says where each token stands, and the cache's mask says what it may look at.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        mask = causal_mask(ids.shape[1], ids.device) if cache is None else cache.mask()
        cos, sin = self.rope(positions)
        x = self.embedding(ids)  # [B,T,D]
        for block in self.blocks:
            x = block(x, cos, sin, mask, cache)
        normed: Tensor = self.norm(x)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]."""
        weight = self.embedding.weight if self.output is None else self.output.weight
        return F.linear(hidden, weight)

    def num_parameters(self) -> int:
        return count.num_parameters(self.config)

    def flops_per_token(self, context: int) -> int:
        """Training operations per token at this context length; the formula is in count.py."""
        return count.flops_per_token(self.config, context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return count.cache_bytes_per_token(self.config, dtype_bytes)
