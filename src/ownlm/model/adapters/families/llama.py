"""Llama 1 to 3 (`LlamaForCausalLM`): grouped-query attention, SwiGLU, RMSNorm; biases and rotary scaling where asked for.

A plain Llama is a `ModelConfig`, everything else an `Architecture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.model.adapters import dense, rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule
from ownlm.model.architecture import Architecture, llama
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.position import Rope

MODEL_TYPES = ("llama",)
IGNORED = dense.IGNORED


def read(raw: Mapping[str, Any], where: str) -> ModelConfig | Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["LlamaForCausalLM"], None))
    keys.require("pretraining_tp", (1, None))
    keys.require("rope_interleaved", (False, None))
    found = dense.Numbers(keys, eps=1e-6, max_positions=2048)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions)
    bias, mlp_bias = keys.switch("attention_bias", False), keys.switch("mlp_bias", False)
    activation = found.activation("hidden_act", "silu")
    keys.done()
    if rope == Rope(rope.theta) and not bias and not mlp_bias and activation == "silu":
        return dense.refused_as_artifact(where, lambda: ModelConfig(
            found.vocab_size, found.hidden_size, found.inner, found.num_layers, found.num_heads, found.num_kv_heads,
            found.head_dim, found.max_positions, rope.theta, found.eps, found.tied, found.initializer_range))  # fmt: skip
    norm = Norm("rms", found.eps)

    def layer() -> Layer:
        attention = GroupedQuery(
            found.num_heads, found.num_kv_heads, found.head_dim, rope, bias=bias, output_bias=bias
        )
        return Layer(attention, FeedForward(found.inner, activation, bias=mlp_bias), norm)

    return dense.architecture(found, where, lambda: (layer(),) * found.num_layers, norm, "llama")


def write(config: ModelConfig | Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Llama."""
    plan = llama(config) if isinstance(config, ModelConfig) else config
    mixer, inner = dense.parts(plan, "llama")
    like = Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, bias=mixer.bias,
                              output_bias=mixer.bias), FeedForward(inner.width, inner.activation, bias=inner.bias),
                 Norm("rms", plan.layers[0].norm.eps))  # fmt: skip
    dense.require(plan, (like,) * plan.num_layers, "llama")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **dense.write(plan),
        "hidden_act": dense.THEIRS[inner.activation],
        "attention_bias": mixer.bias,
        "attention_dropout": 0.0,
        "mlp_bias": inner.bias,
    }


def build(config: ModelConfig | Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: ModelConfig | Architecture) -> list[Rule]:
    return dense.rules(llama(config) if isinstance(config, ModelConfig) else config)


def copies(config: ModelConfig | Architecture) -> dict[str, str]:
    return dense.copies(config)
