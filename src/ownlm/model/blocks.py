"""One layer of a decoder, as the ways in which a mixer and a feed-forward layer hang on the residual stream.

    pre        x + mixer(norm(x)),           then x + feed_forward(norm(x))         Llama
    post       norm(x + mixer(x)),           then norm(x + feed_forward(x))         the original transformer
    output     x + norm(mixer(x)),           then x + norm(feed_forward(x))         OLMo 2
    sandwich   x + norm(mixer(norm(x))),     then x + norm(feed_forward(norm(x)))   Gemma 2 and 3
    parallel   x + mixer(norm(x)) + feed_forward(norm'(x))                          GPT-NeoX

Letters: B batch, T time, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.hooks import Tapped
from ownlm.model.layers import Norm
from ownlm.model.place import Cache, Place


class MixerSpec(Protocol):
    """What lets tokens see each other: a frozen dataclass in the file of its module. GroupedQuery is the model.

    `build` gives a module with forward(x [B, T, D], place, cache=None) -> [B, T, D] that is causal, and that
    with a cache gives for each new token what the whole text would have given. A spec with a `rope` and a
    `head_dim` finds cosines and sines in `place`; one with a `window` a mask of that reach.
    """

    def build(self, width: int, layer: int) -> nn.Module: ...
    def num_parameters(self, width: int) -> int: ...
    def active_parameters(self, width: int) -> int:
        """Weights of matrix products per token."""
        ...

    def mixing_flops(self, context: int) -> int:
        """Forward operations per token besides those weights, at this context length."""
        ...

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Bytes that each further token adds to the cache; 0 for a recurrence, whose state does not grow."""
        ...


class FeedForwardSpec(Protocol):
    """What works on each token alone: FeedForward, or a mixture of experts."""

    def build(self, width: int) -> nn.Module: ...
    def num_parameters(self, width: int) -> int: ...
    def active_parameters(self, width: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer is. Layers of a model need not be alike."""

    mixer: MixerSpec
    feed_forward: FeedForwardSpec | None = None
    """None: the mixer alone (Mamba)."""
    norm: Norm = Norm()
    wiring: str = "pre"
    """A name of WIRINGS."""

    def __post_init__(self) -> None:
        if self.wiring not in WIRINGS:
            raise UsageError(
                "This wiring is not known.", repr(self.wiring), f"use one of {', '.join(WIRINGS)}"
            )

    def build(self, width: int, layer: int) -> nn.Module:
        return WIRINGS[self.wiring](self, width, layer)

    def num_norms(self) -> int:
        return (1 if self.feed_forward is None else 2) * (2 if self.wiring == "sandwich" else 1)


class Block(Tapped):
    """pre: x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    POINTS: ClassVar = {"residual_in": "B T D", "residual_mid": "B T D", "residual_out": "B T D"}

    def __init__(self, spec: Layer, width: int, layer: int) -> None:
        super().__init__()
        self.mixer_norm = spec.norm.build(width)
        self.mixer = spec.mixer.build(width, layer)
        self.feed_forward_norm = self.feed_forward = None
        if spec.feed_forward is not None:
            self.feed_forward_norm = spec.norm.build(width)
            self.feed_forward = spec.feed_forward.build(width)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        x = self.tap("residual_in", x)
        x = self.tap("residual_mid", x + self.mixer(self.mixer_norm(x), place, cache))
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x = x + self.feed_forward(self.feed_forward_norm(x))
        return self.tap("residual_out", x)


class PostBlock(Block):
    """post: norm(x + mixer(x)), then norm(x + feed_forward(x)) (Vaswani et al. 2017, arXiv:1706.03762)."""

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        x = self.tap("residual_in", x)
        x = self.tap("residual_mid", self.mixer_norm(x + self.mixer(x, place, cache)))
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x = self.feed_forward_norm(x + self.feed_forward(x))
        return self.tap("residual_out", x)


class OutputNormBlock(Block):
    """output: x + norm(mixer(x)), then x + norm(feed_forward(x)) (OLMo 2, arXiv:2501.00656)."""

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        x = self.tap("residual_in", x)
        x = self.tap("residual_mid", x + self.mixer_norm(self.mixer(x, place, cache)))
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x = x + self.feed_forward_norm(self.feed_forward(x))
        return self.tap("residual_out", x)


class SandwichBlock(Block):
    """sandwich: a norm before and one after each (Gemma 2, arXiv:2408.00118)."""

    def __init__(self, spec: Layer, width: int, layer: int) -> None:
        super().__init__(spec, width, layer)
        self.mixer_out_norm = spec.norm.build(width)
        self.feed_forward_out_norm = None if spec.feed_forward is None else spec.norm.build(width)

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        x = self.tap("residual_in", x)
        mixed = self.mixer_out_norm(self.mixer(self.mixer_norm(x), place, cache))
        x = self.tap("residual_mid", x + mixed)
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            assert self.feed_forward_out_norm is not None, "made together with the feed-forward layer"
            x = x + self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(x)))
        return self.tap("residual_out", x)


class ParallelBlock(Block):
    """parallel: x + mixer(norm(x)) + feed_forward(norm'(x)) (GPT-J, GPT-NeoX, arXiv:2204.06745)."""

    def forward(self, x: Tensor, place: Place, cache: Cache | None = None) -> Tensor:
        x = self.tap("residual_in", x)
        added = self.mixer(self.mixer_norm(x), place, cache)
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            added = added + self.feed_forward(self.feed_forward_norm(x))
        return self.tap("residual_out", x + added)


WIRINGS: dict[str, type[Block]] = {
    "pre": Block,
    "post": PostBlock,
    "output": OutputNormBlock,
    "sandwich": SandwichBlock,
    "parallel": ParallelBlock,
}
