"""A decoder as a composition: what each layer is, and what stands before the first and after the last.

A Llama's twelve numbers are `ModelConfig`; `llama` writes them out. Other families differ in the parts that they
put together, not in switches inside the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ownlm.errors import UsageError
from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import ModelConfig
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that `Decoder` needs to know. Letters: V vocab_size, D hidden_size."""

    vocab_size: int
    hidden_size: int
    layers: tuple[Layer, ...]
    max_positions: int
    """Longest sequence in tokens."""
    norm: Norm | None = Norm()
    """After the last layer; None: nothing (post-norm layers)."""
    tie_embeddings: bool = True
    """The output layer is the embedding matrix."""
    positions: Learned | Sinusoidal | None = None
    """Vectors that are added to the embedding by position (GPT-2)."""
    embedding_norm: Norm | None = None
    """After the embedding (RWKV, BLOOM)."""
    embedding_scale: float = 1.0
    """The embedding is multiplied by this (Gemma: sqrt(D))."""
    logit_softcap: float | None = None
    """Logits become softcap * tanh(logit / softcap) (Gemma 2)."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights."""
    family: str = ""
    """The Hugging Face model_type that this is, "" where there is none."""

    def __post_init__(self) -> None:
        if not self.layers or min(self.vocab_size, self.hidden_size, self.max_positions) < 1:
            raise UsageError(
                "An architecture needs layers and positive sizes.",
                f"{len(self.layers)} layers, vocab_size = {self.vocab_size}, hidden_size = {self.hidden_size}, "
                f"max_positions = {self.max_positions}",
                "correct these fields",
            )
        if self.positions is not None and self.positions.max_positions < self.max_positions:
            raise UsageError(
                "The added positions end before the longest sequence.",
                f"{self.positions.max_positions:,} < max_positions = {self.max_positions:,}",
                "give both one number",
            )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def causal(self) -> bool:
        """Whether no token depends on a later one: all but mixtures of experts with expert choice."""
        return all(getattr(layer.feed_forward, "causal", True) for layer in self.layers)

    def windows(self) -> tuple[int | None, ...]:
        """Of each layer, in tokens; None where it sees everything."""
        return tuple(getattr(layer.mixer, "window", None) for layer in self.layers)

    def num_parameters(self) -> int:
        """All trained numbers, each once."""
        return sum(number for _, number in self.components())

    def components(self) -> Iterator[tuple[str, int]]:
        """(name, trained numbers) of every part in walking order; tied matrices count once."""
        D = self.hidden_size
        yield "embedding", self.vocab_size * D
        if self.positions is not None:
            yield "positions", self.positions.num_parameters(D)
        if self.embedding_norm is not None:
            yield "embedding_norm", self.embedding_norm.num_parameters(D)
        for n, layer in enumerate(self.layers):
            yield f"blocks.{n}.mixer", layer.mixer.num_parameters(D)
            if layer.feed_forward is not None:
                yield f"blocks.{n}.feed_forward", layer.feed_forward.num_parameters(D)
            yield f"blocks.{n}.norms", layer.num_norms() * layer.norm.num_parameters(D)
        if self.norm is not None:
            yield "norm", self.norm.num_parameters(D)
        if not self.tie_embeddings:
            yield "output", self.vocab_size * D

    def active_parameters(self) -> int:
        """Weights that take part in a matrix product for every token; the embedding lookup is none."""
        D, found = self.hidden_size, self.hidden_size * self.vocab_size
        for layer in self.layers:
            found += layer.mixer.active_parameters(D)
            found += 0 if layer.feed_forward is None else layer.feed_forward.active_parameters(D)
        return found

    def flops_per_token(self, context: int, *, training: bool = True) -> int:
        """2 operations per active weight and what the mixers add; training is three times that (count.py)."""
        forward = 2 * self.active_parameters()
        forward += sum(layer.mixer.mixing_flops(context) for layer in self.layers)
        return 3 * forward if training else forward

    def cache_bytes_per_token(self, dtype_bytes: int = 4) -> int:
        """Bytes that a further token adds while no window is full; 0 for pure recurrences."""
        return sum(layer.mixer.cache_bytes_per_token(dtype_bytes) for layer in self.layers)


def llama(config: ModelConfig) -> Architecture:
    """The layers that the twelve numbers of a ModelConfig stand for."""
    norm = Norm("rms", config.norm_eps)
    attention = GroupedQuery(
        config.num_heads, config.num_kv_heads, config.head_dim, rope=Rope(config.rope_theta)
    )
    layer = Layer(attention, FeedForward(config.intermediate_size), norm)
    return Architecture(
        config.vocab_size,
        config.hidden_size,
        (layer,) * config.num_layers,
        config.max_positions,
        norm,
        config.tie_embeddings,
        initializer_range=config.initializer_range,
        family="llama",
    )
