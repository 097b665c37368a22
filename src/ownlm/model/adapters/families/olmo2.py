"""OLMo 2 (`Olmo2ForCausalLM`, arXiv:2501.00656): norms after attention and feed-forward, and of the whole q and k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm

MODEL_TYPES = ("olmo2",)
IGNORED = dense.IGNORED
copies = dense.copies

NORMS = {"mixer_norm": "post_attention_layernorm", "feed_forward_norm": "post_feedforward_layernorm"}


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Olmo2ForCausalLM"], None))
    found = dense.Numbers(keys, eps=1e-5, max_positions=2048)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions)
    bias = keys.switch("attention_bias", False)
    activation = found.activation("hidden_act", "silu")
    keys.done()
    norm = Norm("rms", found.eps)

    def layers() -> tuple[Layer, ...]:
        attention = GroupedQuery(
            found.num_heads, found.num_kv_heads, found.head_dim, rope, None, bias, bias, norm, "width"
        )
        return (Layer(attention, FeedForward(found.inner, activation), norm, "output"),) * found.num_layers

    return dense.architecture(found, where, layers, norm, "olmo2")


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no OLMo 2."""
    mixer, inner = dense.parts(plan, "olmo2")
    norm = Norm("rms", plan.layers[0].norm.eps)
    like = Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, None, mixer.bias, mixer.bias,
                              norm, "width"), FeedForward(inner.width, inner.activation), norm, "output")  # fmt: skip
    dense.require(plan, (like,) * plan.num_layers, "olmo2")
    return {
        "architectures": ["Olmo2ForCausalLM"],
        "model_type": "olmo2",
        **dense.write(plan),
        "hidden_act": dense.THEIRS[inner.activation],
        "attention_bias": mixer.bias,
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    return dense.rules(config, NORMS)
