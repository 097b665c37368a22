"""The shape of a decoder: twelve numbers, nothing else. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ownlm.errors import UsageError

MAX_LAYERS = 1024
MAX_POSITIONS = 1 << 20
"""Bounds of what a configuration file may ask for before a weight is read (1 M positions: 0.5 GB of tables)."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A Llama-style decoder (RoPE, RMSNorm, SwiGLU, grouped-query attention), without biases or dropout.

    Raises UsageError with every contradiction at once.
    """

    vocab_size: int
    """Rows of the embedding, padding to a multiple of 64 included."""
    hidden_size: int
    """D: width of the residual stream."""
    intermediate_size: int
    """Width inside the SwiGLU feed-forward layer."""
    num_layers: int
    """Blocks."""
    num_heads: int
    """H: query heads."""
    num_kv_heads: int
    """K: key/value heads; H/K query heads share one (Ainslie et al. 2023, arXiv:2305.13245)."""
    head_dim: int
    """C: width of one head; even, because RoPE rotates pairs. H*C need not equal D."""
    max_positions: int
    """Longest sequence in tokens; the rotary tables end there."""
    rope_theta: float = 10000.0
    """Base of the rotary wavelengths (Su et al. 2021, arXiv:2104.09864)."""
    norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    tie_embeddings: bool = True
    """The output layer is the embedding matrix."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise UsageError(
                "the model configuration contradicts itself",
                "; ".join(problems),
                "correct these fields, or let ownlm.model.presets.from_dial derive them",
            )


def _problems(c: ModelConfig) -> list[str]:
    counts = ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads",
              "head_dim", "max_positions")  # fmt: skip
    problems = [
        f"{n} = {getattr(c, n)!r} is not a positive integer" for n in counts if not _count(getattr(c, n))
    ]
    for name in ("rope_theta", "norm_eps", "initializer_range"):
        value = getattr(c, name)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            problems.append(f"{name} = {value!r} is not a positive number")
    if not isinstance(c.tie_embeddings, bool):
        problems.append(f"tie_embeddings = {c.tie_embeddings!r} is neither true nor false")
    if problems:
        return problems
    for name, limit in (("num_layers", MAX_LAYERS), ("max_positions", MAX_POSITIONS)):
        if getattr(c, name) > limit:
            problems.append(f"{name} = {getattr(c, name):,} is above {limit:,}")
    if c.head_dim % 2:
        problems.append(f"head_dim = {c.head_dim} is odd, rotary embeddings need pairs")
    if c.num_heads % c.num_kv_heads:
        problems.append(f"num_heads = {c.num_heads} is not a multiple of num_kv_heads = {c.num_kv_heads}")
    return problems


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
