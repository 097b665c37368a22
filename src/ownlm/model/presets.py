"""Model shapes from one dial. Torch-free."""

from __future__ import annotations

import math

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig

MAX_DEPTH = 128


def from_dial(depth: int, vocab_size: int, max_positions: int) -> ModelConfig:
    """The decoder of `depth` layers; every other number follows from it.

    depth 4 with 8,192 tokens has 1.8 M parameters, depth 8 has 8.0 M, depth 24 has 162 M.
    """
    if not 1 <= depth <= MAX_DEPTH:
        raise UsageError(
            "the size dial is out of range", f"depth = {depth}", f"choose a depth from 1 to {MAX_DEPTH}"
        )
    # Deep and thin: at equal size more layers beat more width in small models (MobileLLM, Liu et al. 2024,
    # arXiv:2402.14905, section 2.2), and the width is what the output layer's cost grows with.
    hidden = 64 * math.ceil(depth / 2)
    # Heads of 64 where that gives at least four and an even number of them, else of 32: half are key/value heads.
    head_dim = 64 if hidden % 128 == 0 and hidden >= 256 else 32
    heads = hidden // head_dim
    kv_heads = max(1, heads // 2)  # grouped-query attention: half the cache, little loss at this size
    # SwiGLU has 3 matrices: 8/3 D keeps the 8 D^2 of a 4 D layer.
    intermediate = _round_up(hidden * 8 / 3, 64)
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_layers=depth,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        max_positions=max_positions,
    )


def tiny(vocab_size: int = 512, max_positions: int = 128) -> ModelConfig:
    """2 layers of width 64: for tests, fast enough to run thousands of steps."""
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=192,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        max_positions=max_positions,
    )


def _round_up(value: float, multiple: int) -> int:
    return -(-int(value) // multiple) * multiple
