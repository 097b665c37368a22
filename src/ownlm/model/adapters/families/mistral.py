"""Mistral (`MistralForCausalLM`, arXiv:2310.06825): Llama with a sliding window in every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm

MODEL_TYPES = ("mistral",)
IGNORED = dense.IGNORED
copies, rules = dense.copies, dense.rules


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["MistralForCausalLM"], None))
    found = dense.Numbers(keys, eps=1e-6, max_positions=131072)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions)
    window = keys.optional("sliding_window", 4096)
    activation = found.activation("hidden_act", "silu")
    keys.done()
    norm = Norm("rms", found.eps)

    def layers() -> tuple[Layer, ...]:
        attention = GroupedQuery(found.num_heads, found.num_kv_heads, found.head_dim, rope, window)
        return (Layer(attention, FeedForward(found.inner, activation), norm),) * found.num_layers

    return dense.architecture(found, where, layers, norm, "mistral")


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Mistral."""
    mixer, inner = dense.parts(plan, "mistral")
    like = Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, mixer.window),
                 FeedForward(inner.width, inner.activation), Norm("rms", plan.layers[0].norm.eps))  # fmt: skip
    dense.require(plan, (like,) * plan.num_layers, "mistral")
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        **dense.write(plan),
        "hidden_act": dense.THEIRS[inner.activation],
        "sliding_window": mixer.window,
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)
