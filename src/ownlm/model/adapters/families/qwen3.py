"""Qwen3, dense (`Qwen3ForCausalLM`, arXiv:2505.09388): Llama with a norm of each head of q and k, and its own head width."""

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

MODEL_TYPES = ("qwen3",)
IGNORED = dense.IGNORED
copies, rules = dense.copies, dense.rules


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Qwen3ForCausalLM"], None))
    found = dense.Numbers(keys, eps=1e-6, max_positions=32768, head_dim=128)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions)
    windows = found.upper_windows()
    bias = keys.switch("attention_bias", False)
    activation = found.activation("hidden_act", "silu")
    keys.done()
    norm = Norm("rms", found.eps)

    def layers() -> list[Layer]:
        inner = FeedForward(found.inner, activation)
        return [
            Layer(
                GroupedQuery(found.num_heads, found.num_kv_heads, found.head_dim, rope, w, bias, bias, norm),
                inner,
                norm,
            )
            for w in windows
        ]

    return dense.architecture(found, where, layers, norm, "qwen3")


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Qwen3."""
    mixer, inner = dense.parts(plan, "qwen3")
    norm = Norm("rms", plan.layers[0].norm.eps)
    like = [Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, window, mixer.bias, mixer.bias,
                               qk_norm=norm),
                  FeedForward(inner.width, inner.activation), norm) for window in plan.windows()]  # fmt: skip
    dense.require(plan, like, "qwen3")
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **dense.write(plan),
        "hidden_act": dense.THEIRS[inner.activation],
        "attention_bias": mixer.bias,
        **dense.write_upper_windows(plan),
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)
