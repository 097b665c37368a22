"""Hybrid stacks from a pattern: "MMMAMMMM" is Mamba with an attention layer in the fourth place.

One letter per layer says what mixes tokens, a second pattern what stands behind it. Jamba (Lieber et al. 2024,
arXiv:2403.19887) is such a stack: one attention layer in eight, a mixture of experts in every second layer.
Zamba's one attention layer whose weights serve many places is none: here every layer has weights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import FeedForwardSpec, Layer, MixerSpec
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope
from ownlm.model.ssm.mamba import Mamba
from ownlm.model.ssm.mamba2 import Mamba2
from ownlm.model.ssm.s4 import S4
from ownlm.model.ssm.s5 import S5


def hybrid(
    pattern: str,
    vocab_size: int,
    hidden_size: int,
    max_positions: int,
    *,
    feed_forwards: str = "-",
    mixers: Mapping[str, MixerSpec] | None = None,
    behind: Mapping[str, FeedForwardSpec | None] | None = None,
    norm: Norm | None = None,
    tie_embeddings: bool = True,
) -> Architecture:
    """The stack of `pattern`; `feed_forwards` is repeated to its length and must fit a whole number of times.

    mixers, behind: what the letters mean; without them `standard_mixers` and `standard_feed_forwards`.
    Raises UsageError for an unknown letter or a length that does not fit.
    """
    mixers = standard_mixers(hidden_size) if mixers is None else mixers
    behind = standard_feed_forwards(hidden_size) if behind is None else behind
    for name, letters, known in (("pattern", pattern, mixers), ("feed_forwards", feed_forwards, behind)):
        unknown = sorted(set(letters) - set(known))
        if unknown or not letters:
            raise UsageError(f"The {name} of a hybrid has letters that mean nothing.", f"{letters!r}: {', '.join(unknown) or 'empty'}",
                             f"use {', '.join(known)}")  # fmt: skip
    if len(pattern) % len(feed_forwards):
        raise UsageError("feed_forwards does not fit the pattern a whole number of times.",
                         f"{len(feed_forwards)} letters for {len(pattern)} layers", "give one letter per layer, or a divisor")  # fmt: skip
    norm = Norm() if norm is None else norm
    seconds = feed_forwards * (len(pattern) // len(feed_forwards))
    layers = tuple(Layer(mixers[m], behind[f], norm) for m, f in zip(pattern, seconds, strict=True))
    return Architecture(vocab_size, hidden_size, layers, max_positions, norm, tie_embeddings)


def standard_mixers(hidden_size: int) -> dict[str, MixerSpec]:
    """A attention with RoPE, N without (Jamba's), W in a window of 128, M Mamba, 2 Mamba-2, S S4D, D S4, 5 S5."""
    head = next(size for size in (64, 32, 16, 8, 4, 2, 1) if hidden_size % size == 0 and hidden_size // size >= min(4, hidden_size))  # fmt: skip
    heads = hidden_size // head
    kv_heads = heads // 2 if heads % 2 == 0 else heads
    rope = Rope() if head % 2 == 0 else None
    return {
        "A": GroupedQuery(heads, kv_heads, head, rope=rope),
        "N": GroupedQuery(heads, kv_heads, head),
        "W": GroupedQuery(heads, kv_heads, head, rope=rope, window=128),
        "M": Mamba(2 * hidden_size),
        "2": Mamba2(2 * heads, head, state_size=64),
        "S": S4(hidden_size),
        "D": S4(hidden_size, 64, "dplr", "bilinear"),
        "5": S5(hidden_size),
    }


def standard_feed_forwards(hidden_size: int) -> dict[str, FeedForwardSpec | None]:
    """- none, F SwiGLU of 8/3 D, E four such experts of which a token takes two."""
    dense = FeedForward(max(1, 8 * hidden_size // 3))
    return {"-": None, "F": dense, "E": MixtureOfExperts(4, dense)}


def jamba(
    periods: int, vocab_size: int, hidden_size: int, max_positions: int, num_experts: int = 16
) -> Architecture:
    """Jamba's block of eight layers `periods` times: attention in the fifth place without positions, Mamba with
    normed dt, B and C elsewhere, every second layer with experts, of which two work (its section 3.1 and 6.4)."""
    norm = Norm("rms", 1e-6)
    dense = FeedForward(7 * hidden_size // 2)
    mixers = standard_mixers(hidden_size) | {"M": Mamba(2 * hidden_size, selection_norm=norm)}
    behind: dict[str, FeedForwardSpec | None] = {"F": dense, "E": MixtureOfExperts(num_experts, dense)}
    return hybrid("MMMMNMMM" * periods, vocab_size, hidden_size, max_positions, feed_forwards="FE", mixers=mixers,
                  behind=behind, norm=norm, tie_embeddings=False)  # fmt: skip


def pure_mamba(num_layers: int, vocab_size: int, hidden_size: int, max_positions: int) -> Architecture:
    """A language model without attention and without feed-forward layers, in the shape of Mamba's paper."""
    return hybrid("M" * num_layers, vocab_size, hidden_size, max_positions)
