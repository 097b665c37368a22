"""A stack of attention layers outside the decoder-only world: every token sees all others (BERT, the encoder of T5),
or the earlier ones and a whole source (the decoder of T5).

    post-norm   x = norm(x + attention(x));   x = norm(x + feed_forward(x))       BERT, BART, the original
    pre-norm    x = x + attention(norm(x));   x = x + feed_forward(norm(x))       T5; a norm after the last layer

Letters: B batch, T time, S source time, D model width, H heads, C head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.attention.cross import Heads
from ownlm.model.hooks import Tapped
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.place import DecodeCache, visible


class AttentionSpec(Protocol):
    """Heads (attention/cross.py) or Disentangled (deberta.py)."""

    def build(self, width: int) -> nn.Module: ...
    def num_parameters(self, width: int) -> int: ...
    def active_parameters(self, width: int) -> int: ...
    def mixing_flops(self, context: int) -> int: ...


class RelativeSpec(Protocol):
    """What the layers of a stack share about distances: its module maps the positions of queries [1, T] and of
    keys [1, S] to the tensor that each attention of the stack gets as `relative`."""

    def build(self, width: int) -> nn.Module: ...
    def num_parameters(self, width: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack is; all its layers are alike."""

    num_layers: int
    attention: AttentionSpec
    feed_forward: FeedForward
    norm: Norm
    pre_norm: bool = False
    final_norm: bool = False
    """A norm after the last layer."""
    relative: RelativeSpec | None = None
    num_distinct: int | None = None
    """Layers with weights of their own, each used num_layers / num_distinct times in a row (ALBERT); None: all."""

    def __post_init__(self) -> None:
        if self.num_layers < 1 or not 1 <= self.distinct <= self.num_layers:
            raise UsageError("A stack needs layers, at least one with weights of its own.",
                             f"num_layers = {self.num_layers}, num_distinct = {self.num_distinct}", "correct them")  # fmt: skip

    @property
    def distinct(self) -> int:
        return self.num_layers if self.num_distinct is None else self.num_distinct

    def num_parameters(self, width: int, cross: bool = False) -> int:
        """cross: each layer also attends to a source."""
        attentions, norms = (2, 3) if cross else (1, 2)
        layer = attentions * self.attention.num_parameters(width) + self.feed_forward.num_parameters(width)
        layer += norms * self.norm.num_parameters(width)
        shared = 0 if self.relative is None else self.relative.num_parameters(width)
        return self.distinct * layer + shared + (self.norm.num_parameters(width) if self.final_norm else 0)

    def forward_flops(self, width: int, context: int, cross: bool = False) -> int:
        """Per token, each token seeing `context` tokens (and with `cross` as many source tokens)."""
        attentions = 2 if cross else 1
        weights = attentions * self.attention.active_parameters(width)
        weights += self.feed_forward.active_parameters(width)
        return self.num_layers * (2 * weights + attentions * self.attention.mixing_flops(context))


class EncoderBlock(Tapped):
    POINTS: ClassVar = {"residual_in": "B T D", "residual_mid": "B T D", "residual_out": "B T D"}

    def __init__(self, spec: Stack, width: int) -> None:
        super().__init__()
        self.pre_norm = spec.pre_norm
        self.attention: Any = spec.attention.build(width)  # nn.Module hides what an attention can do
        self.attention_norm = spec.norm.build(width)
        self.feed_forward = spec.feed_forward.build(width)
        self.feed_forward_norm = spec.norm.build(width)

    def forward(
        self, x: Tensor, mask: Tensor | None, relative: Tensor | None, queries: Tensor | None = None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]; mask bool [B, 1, 1, T].

        queries [B, T, D]: who looks, where it is not x itself (DeBERTa's mask decoder); the residual is theirs.
        """
        looking = self.tap("residual_in", x if queries is None else queries)
        source = looking if queries is None else x
        added = self.attention(
            self._before(self.attention_norm, looking),
            self._before(self.attention_norm, source),
            mask,
            relative,
        )
        x = self.tap("residual_mid", self._after(self.attention_norm, looking + added))
        return self._fed(x)

    def _fed(self, x: Tensor) -> Tensor:
        norm = self.feed_forward_norm
        return self.tap("residual_out", self._after(norm, x + self.feed_forward(self._before(norm, x))))

    def _before(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x) if self.pre_norm else x

    def _after(self, norm: nn.Module, x: Tensor) -> Tensor:
        return x if self.pre_norm else norm(x)


class DecoderBlock(EncoderBlock):
    """Causal self-attention, attention to the source, feed-forward."""

    POINTS: ClassVar = EncoderBlock.POINTS | {"residual_crossed": "B T D"}

    def __init__(self, spec: Stack, width: int, layer: int) -> None:
        super().__init__(spec, width)
        self.layer = layer
        self.cross: Any = spec.attention.build(width)
        self.cross_norm = spec.norm.build(width)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        memory: Tensor,
        masks: tuple[Tensor | None, Tensor | None],
        relative: Tensor | None,
        cache: DecodeCache | None,
    ) -> Tensor:
        """x [B, T, D], memory [B, S, D] -> [B, T, D]; masks: of the target [1, 1, T, L], of the source [B, 1, 1, S].

        The source's keys and values are computed once per cache; they are this layer's state in it.
        """
        x = self.tap("residual_in", x)
        inner = self._before(self.attention_norm, x)
        k, v = self.attention.keys_values(inner)  # [B,H,T,C]
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # [B,H,L,C]
        added = self.attention(inner, (k, v), masks[0], relative)
        x = self.tap("residual_mid", self._after(self.attention_norm, x + added))
        source = None if cache is None else cache.state(self.layer)
        if source is None:
            source = self.cross.keys_values(memory)  # [B,H,S,C]
            if cache is not None:
                cache.keep(self.layer, source)
        added = self.cross(self._before(self.cross_norm, x), source, masks[1])
        x = self.tap("residual_crossed", self._after(self.cross_norm, x + added))
        return self._fed(x)


class EncoderStack(nn.Module):
    def __init__(self, spec: Stack, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.ModuleList(EncoderBlock(spec, width) for _ in range(spec.distinct))
        self.relative = None if spec.relative is None else spec.relative.build(width)
        self.norm = spec.norm.build(width) if spec.final_norm else None

    def order(self) -> list[int]:
        """The block that each layer uses."""
        return [n * self.spec.distinct // self.spec.num_layers for n in range(self.spec.num_layers)]

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """x [B, T, D], mask bool [B, 1, 1, T], positions [1, T] (needed by `relative` only) -> [B, T, D]."""
        relative = self.distances(positions)
        for n in self.order():
            x = self.blocks[n](x, mask, relative)
        return x if self.norm is None else self.norm(x)

    def distances(self, positions: Tensor | None) -> Tensor | None:
        """What every layer gets as `relative`."""
        return None if self.relative is None else self.relative(positions, positions)


class DecoderStack(nn.Module):
    def __init__(self, spec: Stack, width: int) -> None:
        super().__init__()
        if not isinstance(spec.attention, Heads) or spec.num_distinct is not None:
            raise UsageError("A decoder stack has plain attention and no shared layers.",
                             f"attention {type(spec.attention).__name__}, num_distinct = {spec.num_distinct}",
                             "use Heads and num_distinct=None")  # fmt: skip
        self.spec = spec
        self.blocks = nn.ModuleList(DecoderBlock(spec, width, n) for n in range(spec.num_layers))
        self.relative = None if spec.relative is None else spec.relative.build(width)
        self.norm = spec.norm.build(width) if spec.final_norm else None

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        positions: Tensor,
        cache: DecodeCache | None,
    ) -> Tensor:
        """x [B, T, D] at positions [1, T], memory [B, S, D], memory_mask bool [B, 1, 1, S] -> [B, T, D]."""
        keys = positions if cache is None else cache.keys()
        masks = (visible(positions, keys), memory_mask)
        relative = None if self.relative is None else self.relative(positions, keys)
        for block in self.blocks:
            x = block(x, memory, masks, relative, cache)
        return x if self.norm is None else self.norm(x)
