"""Lines of development as models that may be compared: equal width, depth and parameters, one part exchanged.

`recipes/compare_architectures.py` trains a line on the same data with the same budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from ownlm.model.architecture import Architecture
from ownlm.model.attention.gated import Gated
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.latent import Latent
from ownlm.model.blocks import WIRINGS, Layer, MixerSpec
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope
from ownlm.model.recurrent.delta_net import DeltaNet
from ownlm.model.recurrent.gated_delta_net import GatedDeltaNet
from ownlm.model.recurrent.linear_attention import LinearAttention
from ownlm.model.recurrent.retnet import Retention
from ownlm.model.recurrent.rwkv_matrix import MatrixTimeMix
from ownlm.model.ssm.mamba import Mamba
from ownlm.model.ssm.mamba2 import Mamba2
from ownlm.model.ssm.s4 import S4
from ownlm.model.ssm.s5 import S5

HEAD = 16
"""Width of one attention head."""
MAX_POSITIONS = 4096

Line = dict[str, Architecture]


def matched(mixers: Sequence[MixerSpec], width: int, vocab_size: int) -> Architecture:
    """One layer per mixer, each of 12 * width^2 parameters: the feed-forward layer takes what the mixer leaves."""
    layers = []
    for mixer in mixers:
        inner = max(8, (12 * width * width - mixer.num_parameters(width)) // (3 * width))
        layers.append(Layer(mixer, FeedForward(inner)))
    return Architecture(vocab_size, width, tuple(layers), MAX_POSITIONS)


def lines(width: int, depth: int, vocab_size: int) -> dict[str, Line]:
    """Name of the line -> name of the model -> what it is. width: a multiple of 32."""
    return {
        "attention": attention(width, depth, vocab_size),
        "state-space": state_space(width, depth, vocab_size),
        "linear": linear(width, depth, vocab_size),
        "feed-forward": feed_forward(width, depth, vocab_size),
        "wiring": wiring(width, depth, vocab_size),
    }


def attention(width: int, depth: int, vocab_size: int) -> Line:
    """Multi-head, grouped, single key head, latent, gated, and one attention among three gated DeltaNets."""
    heads, rope = width // HEAD, Rope()
    line: dict[str, Sequence[MixerSpec]] = {
        "MHA": [_full(width)] * depth,
        "GQA": [GroupedQuery(heads, heads // 2, HEAD, rope)] * depth,
        "MQA": [GroupedQuery(heads, 1, HEAD, rope)] * depth,
        "MLA": [Latent(heads, width // 4, HEAD, HEAD // 2, HEAD, rope=rope)] * depth,
        "gated": [Gated(heads, heads // 2, HEAD, rope)] * depth,
        "hybrid": _mixed(GatedDeltaNet(heads, HEAD), width, depth),
    }
    return {name: matched(mixers, width, vocab_size) for name, mixers in line.items()}


def state_space(width: int, depth: int, vocab_size: int) -> Line:
    """Full attention beside S4, S5, Mamba, Mamba-2, RWKV-6, and one attention among three Mamba-2."""
    mamba2 = Mamba2(2 * width // HEAD, HEAD, 16)
    line: dict[str, Sequence[MixerSpec]] = {
        "attention": [_full(width)] * depth,
        "S4": [S4(width)] * depth,
        "S5": [S5(width)] * depth,
        "Mamba": [Mamba(2 * width)] * depth,
        "Mamba-2": [mamba2] * depth,
        "RWKV-6": [MatrixTimeMix(width // HEAD, HEAD, mix_rank=8, decay_rank=16)] * depth,
        "hybrid": _mixed(mamba2, width, depth),
    }
    return {name: matched(mixers, width, vocab_size) for name, mixers in line.items()}


def linear(width: int, depth: int, vocab_size: int) -> Line:
    """Full attention beside the recurrences that replace it."""
    heads = width // HEAD
    line: dict[str, MixerSpec] = {
        "attention": _full(width),
        "linear": LinearAttention(heads, HEAD),
        "RetNet": Retention(heads, HEAD),
        "DeltaNet": DeltaNet(heads, HEAD),
        "gated DeltaNet": GatedDeltaNet(heads, HEAD),
    }
    return {name: matched([mixer] * depth, width, vocab_size) for name, mixer in line.items()}


def feed_forward(width: int, depth: int, vocab_size: int) -> Line:
    """Activations at equal parameters: gated layers have three matrices of 8/3 D, plain ones two of 4 D."""
    kinds = {"ReLU": ("relu", False), "GELU": ("gelu", False), "ReLU^2": ("relu2", False),
             "GLU": ("sigmoid", True), "GeGLU": ("gelu", True), "SwiGLU": ("silu", True)}  # fmt: skip
    return {
        name: _stack(Layer(_full(width), FeedForward(8 * width // (3 if gated else 2), kind, gated)), width, depth, vocab_size)
        for name, (kind, gated) in kinds.items()
    }  # fmt: skip


def wiring(width: int, depth: int, vocab_size: int) -> Line:
    """Where the norms stand (blocks.py)."""
    return {
        name: _stack(Layer(_full(width), FeedForward(8 * width // 3), wiring=name), width, depth, vocab_size)
        for name in WIRINGS
    }


def _full(width: int) -> GroupedQuery:
    return GroupedQuery(width // HEAD, width // HEAD, HEAD, Rope())


def _mixed(often: MixerSpec, width: int, depth: int) -> list[MixerSpec]:
    """Every fourth layer is full attention, in shallower stacks the last."""
    every = min(4, depth)
    return [_full(width) if n % every == every - 1 else often for n in range(depth)]


def _stack(layer: Layer, width: int, depth: int, vocab_size: int) -> Architecture:
    norm = None if layer.wiring == "post" else Norm()
    return Architecture(vocab_size, width, (layer,) * depth, MAX_POSITIONS, norm)
