"""The decoder: token ids in, logits out. One model for every architecture that `Architecture` can compose.

      ids [B,T] ── embedding ──┐
                               x ──────────────┬──────────────────┬── ... ── norm ── output layer ── logits [B,T,V]
                               └ norm─ mixer ──┘└ norm─feed_forward┘
                                          one block (blocks.py)

The everyday model is Llama's (`ModelConfig`): attention in attention/grouped.py, SwiGLU and RMSNorm in layers.py.
It knows nothing of training, serving, quantization or files. For speed compile each block alone, in place
(`for block in model.blocks: block.compile()`, which keeps the names of the weights): blocks have no graph
break, and those that are alike share one compilation.

Letters: B batch, T time, D model width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture, llama
from ownlm.model.config import ModelConfig
from ownlm.model.place import Cache, DecodeCache, Place, causal_mask
from ownlm.model.position import Rope, RotaryTable


class Decoder(nn.Module):
    """A language model; float32 weights drawn from `seed`."""

    def __init__(self, config: ModelConfig | Architecture, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.architecture = plan = llama(config) if isinstance(config, ModelConfig) else config
        self.embedding = nn.Embedding(plan.vocab_size, plan.hidden_size)
        self.positions = None if plan.positions is None else plan.positions.build(plan.hidden_size)
        self.embedding_norm = (
            None if plan.embedding_norm is None else plan.embedding_norm.build(plan.hidden_size)
        )
        self.blocks = nn.ModuleList(layer.build(plan.hidden_size, n) for n, layer in enumerate(plan.layers))
        self.norm = None if plan.norm is None else plan.norm.build(plan.hidden_size)
        # Tied: there is no second matrix, not even by name, so nothing can drift apart or be saved twice.
        self.output = (
            None if plan.tie_embeddings else nn.Linear(plan.hidden_size, plan.vocab_size, bias=False)
        )
        # What tells layers apart before they compute: which rotation, which reach. Equal ones share a Place.
        self._kinds = [
            (_rotation(layer.mixer), getattr(layer.mixer, "window", None)) for layer in plan.layers
        ]
        # Of the layers that attend; a recurrence, which adds nothing to the cache, has no use for a T x T mask.
        self._reaches = {
            getattr(layer.mixer, "window", None)
            for layer in plan.layers
            if layer.mixer.cache_bytes_per_token()
        }
        turning = dict.fromkeys(r for r, _ in self._kinds if r is not None)
        self.ropes = {r: RotaryTable(*r, plan.max_positions) for r in turning}
        if not self.embedding.weight.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, initializer_range) for every matrix; the two that write into the residual stream are
        scaled by 1/sqrt(2 * layers), so that its variance does not grow with depth (GPT-2, section 2.3).
        Norms and biases stay as made. A module with an `initialize(generator)` of its own sets all that it holds."""
        generator = torch.Generator(device=self.embedding.weight.device).manual_seed(seed)
        std, residual = self.architecture.initializer_range, (2 * self.architecture.num_layers) ** -0.5
        own: set[nn.Parameter] = set()
        for module in self.modules():
            if module is not self and hasattr(module, "initialize"):
                module.initialize(generator)
                own.update(module.parameters())
        for name, weight in self.named_parameters():
            if weight in own:
                continue
            if weight.ndim > 1:
                # Of a mixture of experts each expert writes, and the shared one.
                writes = name.endswith("mixer.o.weight") or (
                    ".feed_forward." in name and name.endswith("down.weight")
                )
                weight.normal_(0.0, std * (residual if writes else 1.0), generator=generator)
            elif name.endswith(".bias"):
                weight.zero_()

    def forward(self, ids: Tensor, cache: Cache | None = None, positions: Tensor | None = None) -> Tensor:
        """ids [B, T] int64 -> logits [B, T, V] in the weights' dtype; see `hidden` for cache and positions."""
        return self.logits(self.hidden(ids, cache, positions))

    def hidden(self, ids: Tensor, cache: Cache | None = None, positions: Tensor | None = None) -> Tensor:
        """ids [B, T] int64 -> the last layer's normed output [B, T, D].

        Without a cache the sequence starts at position 0 and mixing is causal. A DecodeCache (`new_cache`) goes on
        where it stands; for another cache `positions` [B, T] int64 says where each token stands.
        """
        if ids.ndim != 2 or not ids.numel():
            raise UsageError(
                "A model needs at least one token.", f"ids of shape {list(ids.shape)}", "give ids [B, T]"
            )
        self._check_length(ids.shape[1] + (cache.length if isinstance(cache, DecodeCache) else 0))
        if cache is not None and not self.architecture.causal:
            raise UsageError("This model cannot go on with a cache.", "a feed-forward layer in which later tokens change "
                             "earlier ones (expert choice)", "run the whole text without a cache")  # fmt: skip
        if isinstance(cache, DecodeCache):
            positions = cache.begin(ids.shape[1], ids.device)
        elif positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embedding(ids)  # [B,T,D]
        if self.architecture.embedding_scale != 1.0:
            x = x * torch.tensor(self.architecture.embedding_scale, dtype=x.dtype)
        if self.positions is not None:
            x = x + self.positions(positions).to(x.dtype)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        places = self._places(positions, cache)
        for block, kind in zip(self.blocks, self._kinds, strict=True):
            x = block(x, places[kind], cache)
        if isinstance(cache, DecodeCache):
            cache.end()
        return x if self.norm is None else self.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]."""
        weight = self.embedding.weight if self.output is None else self.output.weight
        logits = F.linear(hidden, weight)
        cap = self.architecture.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def new_cache(self) -> DecodeCache:
        """An empty cache for one batch of sequences that grow together."""
        return DecodeCache(self.architecture.windows())

    def _check_length(self, num_tokens: int) -> None:
        # A rotation may reach further than config.json says (Qwen2 with YaRN), a table of vectors never.
        stated = self.architecture.max_positions
        ends = [rope.reach(stated) for rope, _ in self.ropes] if self.positions is None else []
        limit = min(ends, default=stated)
        if num_tokens > limit and (self.ropes or self.positions is not None):
            raise UsageError("The text is longer than the model's positions.", f"{num_tokens:,} > {limit:,}",
                             "shorten it, or take a model with more positions")  # fmt: skip

    def _places(self, positions: Tensor, cache: Cache | None) -> dict[Any, Place]:
        """The Place of each kind of layer."""
        T, device = positions.shape[1], positions.device
        turns = {rope: table(positions) for rope, table in self.ropes.items()}
        masks: dict[int | None, tuple[Tensor, Tensor | None]] = {}
        for _, window in self._kinds:
            if window not in masks:
                keys = positions if cache is None else cache.keys(window)
                mask = None
                if window in self._reaches:
                    mask = causal_mask(T, device, window) if cache is None else cache.mask(window)
                masks[window] = keys, mask
        return {
            (rope, window): Place(positions, *masks[window], *(turns[rope] if rope else (None, None)))
            for rope, window in self._kinds
        }

    def num_parameters(self) -> int:
        return self.architecture.num_parameters()

    def flops_per_token(self, context: int) -> int:
        """Training operations per token at this context length; the formula is in count.py."""
        return self.architecture.flops_per_token(context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        return self.architecture.cache_bytes_per_token(dtype_bytes)

    def kv_shape(self) -> tuple[int, int, int]:
        """(layers, K, C) of a cache of keys and values; raises UsageError where the layers keep something else."""
        shapes = {_kept(layer.mixer) for layer in self.architecture.layers}
        kv_heads, head_dim = shapes.pop() or (0, 0)
        if shapes or not kv_heads:
            kinds = sorted({type(layer.mixer).__name__ for layer in self.architecture.layers})
            raise UsageError("The layers of this model do not all keep keys and values of one shape.",
                             f"layers of {', '.join(kinds)}", "decode it with model.new_cache()")  # fmt: skip
        return self.architecture.num_layers, kv_heads, head_dim


def _kept(mixer: Any) -> tuple[int, int] | None:
    """(K, C) where a layer keeps K keys and K values of width C per token, all of them where they stand."""
    shape = getattr(mixer, "num_kv_heads", 0), getattr(mixer, "head_dim", 0)
    plain = mixer.cache_bytes_per_token(1) == 2 * shape[0] * shape[1]
    return shape if plain and not getattr(mixer, "own_cache", False) else None


def _rotation(mixer: Any) -> tuple[Rope, int] | None:
    rope = getattr(mixer, "rope", None)
    return None if rope is None else (rope, mixer.head_dim)
