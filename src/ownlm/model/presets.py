"""Model shapes from one dial. Torch-free."""

from __future__ import annotations

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig

MAX_DEPTH = 128


def from_dial(depth: int, vocab_size: int, max_positions: int) -> ModelConfig:
    """The decoder of `depth` layers; every other number follows from it.

    depth 4 with 8,192 tokens has 5.1 M parameters, depth 6 has 13 M, depth 12 has 84 M.
    """
    if not 1 <= depth <= MAX_DEPTH:
        raise UsageError(
            "the size dial is out of range", f"depth = {depth}", f"choose a depth from 1 to {MAX_DEPTH}"
        )
    hidden = 64 * depth  # width grows with depth at a fixed ratio of 64 (as in nanochat)
    # Heads of 64 where that gives an even number of them, else of 32: so that exactly half can be key/value heads.
    head_dim = 64 if hidden % 128 == 0 else 32
    heads = hidden // head_dim
    kv_heads = max(1, heads // 2)  # grouped-query attention: half the cache, little loss at this size
    intermediate = _round_up(
        hidden * 8 / 3, 64
    )  # SwiGLU has 3 matrices: 8/3 D keeps the 8 D^2 of a 4 D layer
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
