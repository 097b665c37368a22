"""GPT-NeoX and Pythia (`GPTNeoXForCausalLM`, arXiv:2204.06745): attention and feed-forward side by side, heads rotated in
part, LayerNorm, q, k, v fused head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.activations import THEIRS, ours
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS, MAX_POSITIONS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm

MODEL_TYPES = ("gpt_neox",)
IGNORED = (
    r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
    r"gpt_neox\.rotary_emb\.inv_freq",
)


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["GPTNeoXForCausalLM"], None))
    width, heads = keys.whole("hidden_size", 6144), keys.whole("num_attention_heads", 64)
    positions = keys.whole("max_position_embeddings", 2048, MAX_POSITIONS)
    if width % heads:
        raise keys.wrong("num_attention_heads", heads, f"a divisor of hidden_size = {width}")
    rope = rope_keys.read(
        keys,
        width // heads,
        positions,
        10000.0,
        0.25,
        theta_keys=("rotary_emb_base", "rope_theta"),
        fraction_keys=("rotary_pct", "partial_rotary_factor"),
    )
    norm = Norm("layer", keys.number("layer_norm_eps", 1e-5), bias=True)
    inner = FeedForward(
        keys.whole("intermediate_size", 24576), ours(keys.take("hidden_act", "gelu"), where), False, True
    )
    wiring = "parallel" if keys.switch("use_parallel_residual", True) else "pre"
    bias, tied = keys.switch("attention_bias", True), keys.switch("tie_word_embeddings", False)
    count, vocab = keys.whole("num_hidden_layers", 44, MAX_LAYERS), keys.whole("vocab_size", 50432)
    std = keys.number("initializer_range", 0.02)
    keys.done()

    def plan() -> Architecture:
        attention = GroupedQuery(heads, heads, width // heads, rope, bias=bias, output_bias=bias)
        layer = Layer(attention, inner, norm, wiring)
        return Architecture(
            vocab, width, (layer,) * count, positions, norm, tied, initializer_range=std, family="gpt_neox"
        )

    return dense.refused_as_artifact(where, plan)


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no GPT-NeoX."""
    mixer, inner = dense.parts(plan, "gpt_neox")
    norm = Norm("layer", plan.layers[0].norm.eps, bias=True)
    heads, C, wiring = mixer.num_heads, mixer.head_dim, plan.layers[0].wiring
    if mixer.rope is None or heads * C != plan.hidden_size or wiring not in ("parallel", "pre"):
        raise UsageError(
            "This architecture is no gpt_neox.",
            f"its first layer is {plan.layers[0]}",
            "save it as what it is",
        )
    like = Layer(GroupedQuery(heads, heads, C, mixer.rope, bias=mixer.bias, output_bias=mixer.bias),
                 FeedForward(inner.width, inner.activation, False, True), norm, wiring)  # fmt: skip
    dense.require(plan, (like,) * plan.num_layers, "gpt_neox")
    rotation = rope_keys.write(mixer.rope, C)
    fraction = (mixer.rope.dims or C) / C
    rotation["rope_parameters"]["partial_rotary_factor"] = fraction
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": plan.vocab_size,
        "hidden_size": plan.hidden_size,
        "intermediate_size": inner.width,
        "num_hidden_layers": plan.num_layers,
        "num_attention_heads": heads,
        "max_position_embeddings": plan.max_positions,
        "layer_norm_eps": norm.eps,
        "initializer_range": plan.initializer_range,
        "tie_word_embeddings": plan.tie_embeddings,
        "hidden_act": THEIRS[inner.activation],
        "attention_bias": mixer.bias,
        "use_parallel_residual": wiring == "parallel",
        "rotary_pct": fraction,
        "rotary_emb_base": mixer.rope.theta,
        "rope_scaling": rotation["rope_scaling"],
        "rope_parameters": rotation["rope_parameters"],
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = [same("gpt_neox.embed_in.weight", "embedding.weight")]
    found += [same(f"gpt_neox.final_layer_norm.{kind}", f"norm.{kind}") for kind in ("weight", "bias")]
    if not config.tie_embeddings:
        found.append(same("embed_out.weight", "output.weight"))
    for n, layer in enumerate(config.layers):
        mixer, _ = dense.dense_parts(layer, "gpt_neox")
        theirs, mine = f"gpt_neox.layers.{n}.", f"blocks.{n}."
        for there, here in (("input_layernorm", "mixer_norm"), ("post_attention_layernorm", "feed_forward_norm"),
                            ("mlp.dense_h_to_4h", "feed_forward.up"), ("mlp.dense_4h_to_h", "feed_forward.down")):  # fmt: skip
            found += [same(f"{theirs}{there}.{kind}", f"{mine}{here}.{kind}") for kind in ("weight", "bias")]
        for kind in ("weight", "bias") if mixer.bias else ("weight",):
            found.append(same(f"{theirs}attention.dense.{kind}", f"{mine}mixer.o.{kind}"))
            found.append(
                _fused(f"{theirs}attention.query_key_value.{kind}", f"{mine}mixer.", kind, mixer.num_heads)
            )
    return found


def _fused(theirs: str, mine: str, kind: str, heads: int) -> Rule:
    """Rows [H, 3, C]: of each head its q, then its k, then its v."""

    def join(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack([part.reshape(heads, -1, *part.shape[1:]) for part in parts], dim=1).flatten(0, 2)

    def split(fused: Tensor) -> list[Tensor]:
        return [part.flatten(0, 1) for part in fused.reshape(heads, 3, -1, *fused.shape[1:]).unbind(1)]

    return Rule(theirs, tuple(f"{mine}{part}.{kind}" for part in "qkv"), join, split)


def copies(config: Architecture) -> dict[str, str]:
    return {"embed_out.weight": "gpt_neox.embed_in.weight"} if config.tie_embeddings else {}
