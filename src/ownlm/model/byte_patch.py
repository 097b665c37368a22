"""A byte-level model that works on patches (MegaByte, Yu et al. 2023, arXiv:2305.07185).

      bytes   b0 b1 b2 | b3 b4 b5 | b6 ...            patches of P = 3
      global    pad    | (b0 b1 b2) | (b3 b4 b5)      one wide step per patch, it sees only patches before its own
      local   .  b0 b1 | .  b3 b4   | .  b6           one narrow step per byte, it sees its patch before itself
      output  b0 b1 b2 | b3 b4 b5   | b6 ...          so no byte is guessed from itself or from a later one

The global step costs 1/P of a step per byte, and the local model attends to at most P bytes: cost and memory grow
with T/P, not T. Inner layers are those of the decoder (blocks.py), any mixers without rotary positions or windows.

Letters: B batch, T bytes, N patches, P patch size, G global width per byte, D local width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.place import DecodeCache, Place, causal_mask


@dataclass(frozen=True, slots=True)
class BytePatchConfig:
    """Everything that `BytePatch` needs to know."""

    patch_size: int
    """P."""
    global_byte_width: int
    """G; the global layers are P * G wide."""
    local_width: int
    global_layers: tuple[Layer, ...]
    local_layers: tuple[Layer, ...]
    max_bytes: int
    """Longest text; the global model has a trained vector per byte position."""
    vocab_size: int = 256
    norm: Norm = Norm()
    """After the last layer of either model."""
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        sizes = (self.patch_size, self.global_byte_width, self.local_width, self.max_bytes, self.vocab_size)
        if min(sizes) < 1 or not self.global_layers or not self.local_layers:
            raise UsageError(
                "A byte-patch model needs layers and positive sizes.", str(self), "correct the fields"
            )
        for layer in (*self.global_layers, *self.local_layers):
            for name in ("rope", "window"):
                if getattr(layer.mixer, name, None) is not None:
                    raise UsageError("A byte-patch model has absolute positions and no windows.",
                                     f"{name} = {getattr(layer.mixer, name)}", f"build the layer with {name}=None")  # fmt: skip

    @property
    def global_width(self) -> int:
        return self.patch_size * self.global_byte_width

    def num_parameters(self) -> int:
        G, D, V, W = self.global_byte_width, self.local_width, self.vocab_size, self.global_width
        found = V * G + self.max_bytes * G + W  # bytes, positions, the first patch
        found += V * D + D + G * D + V * D  # bytes, the first byte of a patch, global to local, output
        for width, layers in ((W, self.global_layers), (D, self.local_layers)):
            found += self.norm.num_parameters(width)
            for layer in layers:
                found += layer.mixer.num_parameters(width) + layer.num_norms() * layer.norm.num_parameters(
                    width
                )
                found += 0 if layer.feed_forward is None else layer.feed_forward.num_parameters(width)
        return found

    def flops_per_token(self, context: int, *, training: bool = True) -> int:
        """Per byte of a text of `context` bytes; a global step is shared by the P bytes of its patch."""
        P, D = self.patch_size, self.local_width
        wide = sum(
            _layer_flops(layer, self.global_width, math.ceil(context / P)) for layer in self.global_layers
        )
        narrow = sum(_layer_flops(layer, D, min(P, context)) for layer in self.local_layers)
        forward = wide // P + narrow + 2 * D * (self.global_byte_width + self.vocab_size)
        return 3 * forward if training else forward


class ByteCache:
    """What decoding keeps: the global model's keys and values of all patches, the local one's of the open patch."""

    def __init__(self, config: BytePatchConfig) -> None:
        self._config = config
        self.length = 0  # bytes seen
        self.wide = DecodeCache((None,) * len(config.global_layers))
        self.tail: Tensor | None = None  # int64 [B, < P]: bytes of the open patch
        self.open_patch()

    def open_patch(self) -> None:
        self.narrow = DecodeCache((None,) * len(self._config.local_layers))
        self.context: Tensor | None = (
            None  # [B, P, D]: what the global model says to each byte of the open patch
        )

    @property
    def num_bytes(self) -> int:
        return self.wide.num_bytes + self.narrow.num_bytes


class BytePatch(nn.Module):
    """A byte language model; float32 weights drawn from `seed`."""

    def __init__(self, config: BytePatchConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, G, D = config, config.global_byte_width, config.local_width
        self.global_embedding = nn.Embedding(config.vocab_size, G)
        self.positions = nn.Embedding(config.max_bytes, G)
        self.first_patch = nn.Parameter(torch.zeros(1, config.global_width))  # stands before the first patch
        self.global_blocks = _blocks(config.global_layers, config.global_width)
        self.global_norm = config.norm.build(config.global_width)
        self.to_local = nn.Linear(G, D, bias=False)
        self.local_embedding = nn.Embedding(config.vocab_size, D)
        self.first_byte = nn.Parameter(torch.zeros(1, D))  # stands before the first byte of every patch
        self.local_blocks = _blocks(config.local_layers, D)
        self.local_norm = config.norm.build(D)
        self.output = nn.Linear(D, config.vocab_size, bias=False)
        if not self.first_byte.is_meta:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, initializer_range) for every matrix; norms and biases as made; a mixer's own values by itself."""
        generator = torch.Generator(device=self.first_byte.device).manual_seed(seed)
        own: set[nn.Parameter] = set()
        for module in self.modules():
            start = getattr(module, "initialize", None)
            if module is not self and start is not None:
                start(generator)
                own.update(module.parameters())
        for name, weight in self.named_parameters():
            if weight in own:
                continue
            if weight.ndim > 1:
                weight.normal_(0.0, self.config.initializer_range, generator=generator)
            elif name.endswith(".bias"):
                weight.zero_()

    def forward(self, ids: Tensor, cache: ByteCache | None = None) -> Tensor:
        """ids [B, T] int64 -> logits [B, T, V]: at each byte those of the next one. A cache goes on where it stands."""
        if cache is not None:
            return self._continue(ids, cache)
        return self._all(ids)[:, 1:]

    def predictions(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> logits [B, T, V] of these bytes themselves, each from the earlier ones, the first from none."""
        return self._all(ids)[:, : ids.shape[1]]

    def _all(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> logits [B, T+1, V] of the bytes 0..T."""
        B, T = ids.shape
        P, N = self.config.patch_size, T // self.config.patch_size + 1
        context = self._global(self._patches(ids[:, : (N - 1) * P], 0, True), None)  # [B,N,P,D]
        padded = F.pad(
            ids, (0, N * P - T)
        )  # the filling is never seen: its own output is cut off, and it is last
        inner = self.local_embedding(padded).view(B, N, P, -1)[:, :, :-1]  # [B,N,P-1,D]
        first = self.first_byte[:, None].expand(B, N, 1, -1)
        x = torch.cat((first, inner), dim=2) + context
        return self._local(x.flatten(0, 1), None).view(B, N * P, -1)[:, : T + 1]

    def _patches(self, ids: Tensor, start: int, first: bool) -> Tensor:
        """Whole patches of ids [B, n*P] that begin at byte `start` -> [B, n, P*G]; `first`: the pad before them."""
        B, n = ids.shape
        if start + n > self.config.max_bytes:
            raise UsageError("The text is longer than the model's positions.",
                             f"{start + n:,} > {self.config.max_bytes:,}", "shorten it")  # fmt: skip
        where = torch.arange(start, start + n, device=ids.device)
        wide = (self.global_embedding(ids) + self.positions(where)).reshape(B, -1, self.config.global_width)
        return torch.cat((self.first_patch.expand(B, 1, -1), wide), dim=1) if first else wide

    def _global(self, x: Tensor, cache: ByteCache | None) -> Tensor:
        """x [B, N, P*G] -> what each byte of the patch after it is told, [B, N, P, D]."""
        x = self.global_norm(_through(self.global_blocks, x, None if cache is None else cache.wide))
        told: Tensor = self.to_local(x.view(*x.shape[:2], self.config.patch_size, -1))
        return told

    def _local(self, x: Tensor, cache: DecodeCache | None) -> Tensor:
        """x [B, p, D] within a patch -> logits [B, p, V]."""
        logits: Tensor = self.output(self.local_norm(_through(self.local_blocks, x, cache)))
        return logits

    def _continue(self, ids: Tensor, cache: ByteCache) -> Tensor:
        """ids [B, T] new bytes -> logits [B, T, V]; runs piece by piece up to each end of a patch."""
        found = [ids.new_empty((ids.shape[0], 0, self.config.vocab_size), dtype=self.first_byte.dtype)]
        if cache.tail is None:
            cache.tail = ids[:, :0]
            cache.context = self._global(self.first_patch.expand(ids.shape[0], 1, -1), cache)[:, 0]
            self._local(self.first_byte[:, None] + cache.context[:, :1], cache.narrow)
        P, done = self.config.patch_size, 0
        while done < ids.shape[1]:
            offset = cache.tail.shape[1]
            piece = ids[:, done : done + P - offset]
            n = piece.shape[1]
            done, cache.length, cache.tail = done + n, cache.length + n, torch.cat((cache.tail, piece), dim=1)
            full = offset + n == P
            inner = piece[:, :-1] if full else piece
            if inner.shape[1]:
                assert cache.context is not None, "opened with the patch"
                told = cache.context[:, offset + 1 : offset + 1 + inner.shape[1]]
                found.append(self._local(self.local_embedding(inner) + told, cache.narrow))
            if full:
                found.append(self._next_patch(cache))
        return torch.cat(found, dim=1)

    def _next_patch(self, cache: ByteCache) -> Tensor:
        """The tail is a whole patch: the global step, and the logits [B, 1, V] of the byte after it."""
        assert cache.tail is not None, "filled by the caller"
        patch = self._patches(cache.tail, cache.length - self.config.patch_size, False)
        cache.open_patch()
        cache.context, cache.tail = self._global(patch, cache)[:, 0], cache.tail[:, :0]
        return self._local(self.first_byte[:, None] + cache.context[:, :1], cache.narrow)

    def new_cache(self) -> ByteCache:
        return ByteCache(self.config)

    def num_parameters(self) -> int:
        return self.config.num_parameters()

    def flops_per_token(self, context: int) -> int:
        """Training operations per byte."""
        return self.config.flops_per_token(context)

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Bytes that a further byte adds in the long run: the global cache's share; the local one stays below P."""
        wide = sum(layer.mixer.cache_bytes_per_token(dtype_bytes) for layer in self.config.global_layers)
        return math.ceil(wide / self.config.patch_size)


def bits_per_byte(total_nats: float, num_bytes: int) -> float:
    """A text's negative log likelihood in nats, by any model over any tokens -> bits per byte of the text."""
    if num_bytes < 1 or not math.isfinite(total_nats):
        raise UsageError("Bits per byte need a text and its likelihood.", f"{total_nats} nats, {num_bytes} bytes",
                         "give at least one byte")  # fmt: skip
    return total_nats / math.log(2) / num_bytes


@torch.no_grad()
def measure_bits_per_byte(model: BytePatch, ids: Tensor) -> float:
    """ids [B, T]: bits per byte of the model, the first byte included."""
    logits = model.predictions(ids)
    return bits_per_byte(
        float(F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="sum")), ids.numel()
    )


def megabyte(
    patch_size: int,
    global_width: int,
    local_width: int,
    num_layers: tuple[int, int],
    num_heads: tuple[int, int],
    max_bytes: int,
    vocab_size: int = 256,
) -> BytePatchConfig:
    """MegaByte with pre-norm GELU layers; pairs are (global, local). global_width = P * G."""
    if global_width % patch_size or global_width % num_heads[0] or local_width % num_heads[1]:
        raise UsageError("Widths must be multiples of their heads, the global one of the patch size too.",
                         f"patch_size = {patch_size}, widths {global_width}, {local_width}, heads {num_heads}",
                         "change one of them")  # fmt: skip
    norm = Norm("layer", 1e-5, bias=True)

    def layers(count: int, width: int, heads: int) -> tuple[Layer, ...]:
        attention = GroupedQuery(heads, heads, width // heads)
        return (Layer(attention, FeedForward(4 * width, "gelu", gated=False, bias=True), norm),) * count

    return BytePatchConfig(
        patch_size,
        global_width // patch_size,
        local_width,
        layers(num_layers[0], global_width, num_heads[0]),
        layers(num_layers[1], local_width, num_heads[1]),
        max_bytes,
        vocab_size,
        norm,
    )


def _blocks(layers: Sequence[Layer], width: int) -> nn.ModuleList:
    return nn.ModuleList(layer.build(width, n) for n, layer in enumerate(layers))


def _through(blocks: nn.ModuleList, x: Tensor, cache: DecodeCache | None) -> Tensor:
    """x [B, T, width] through causal blocks."""
    T, device = x.shape[1], x.device
    if cache is None:
        positions = torch.arange(T, device=device)[None]
        place = Place(positions, positions, causal_mask(T, device))
    else:
        positions = cache.begin(T, device)
        place = Place(positions, cache.keys(), cache.mask())
    for block in blocks:
        x = block(x, place, cache)
    if cache is not None:
        cache.end()
    return x


def _layer_flops(layer: Layer, width: int, context: int) -> int:
    weights = layer.mixer.active_parameters(width)
    weights += 0 if layer.feed_forward is None else layer.feed_forward.active_parameters(width)
    return 2 * weights + layer.mixer.mixing_flops(context)
