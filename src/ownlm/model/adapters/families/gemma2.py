"""Gemma 2 (`Gemma2ForCausalLM`, arXiv:2408.00118): sandwich norms of 1 + weight, capped scores and logits, GeGLU, every
other layer with a window, embeddings times sqrt(D)."""

from __future__ import annotations

import math
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

MODEL_TYPES = ("gemma2",)
IGNORED = dense.IGNORED
copies = dense.copies

NORMS = {
    "mixer_norm": "input_layernorm",
    "mixer_out_norm": "post_attention_layernorm",
    "feed_forward_norm": "pre_feedforward_layernorm",
    "feed_forward_out_norm": "post_feedforward_layernorm",
}


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4 or 5. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Gemma2ForCausalLM"], None))
    keys.require("use_bidirectional_attention", (False, None))
    keys.harmless(
        ("hidden_act", "cache_implementation")
    )  # old files say it twice; hidden_activation is what counts
    found = dense.Numbers(keys, eps=1e-6, max_positions=8192, tied=True, head_dim=256)
    rope = rope_keys.read(keys, found.head_dim, found.max_positions)
    windows = found.windows(keys.optional("sliding_window", 4096), lambda n: n % 2 == 0)
    scale = keys.number("query_pre_attn_scalar", 256) ** -0.5
    score_cap, logit_cap = (
        keys.optional_number("attn_logit_softcapping", 50.0),
        keys.optional_number("final_logit_softcapping", 30.0),
    )
    bias = keys.switch("attention_bias", False)
    activation = found.activation("hidden_activation", "gelu_pytorch_tanh")
    keys.done()
    norm = Norm("rms", found.eps, offset=True)

    def layers() -> list[Layer]:
        inner = FeedForward(found.inner, activation)
        return [
            Layer(GroupedQuery(found.num_heads, found.num_kv_heads, found.head_dim, rope, window, bias, bias, scale=scale,
                               softcap=score_cap), inner, norm, "sandwich")
            for window in windows
        ]  # fmt: skip

    options = {"embedding_scale": math.sqrt(found.hidden_size), "logit_softcap": logit_cap}
    return dense.architecture(found, where, layers, norm, "gemma2", **options)


def write(plan: Architecture) -> dict[str, Any]:
    """The keys that describe the model. Raises UsageError where it is no Gemma 2."""
    mixer, inner = dense.parts(plan, "gemma2")
    norm = Norm("rms", plan.layers[0].norm.eps, offset=True)
    like = [Layer(GroupedQuery(mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, window, mixer.bias,
                               mixer.bias, scale=mixer.scale, softcap=mixer.softcap),
                  FeedForward(inner.width, inner.activation), norm, "sandwich") for window in plan.windows()]  # fmt: skip
    dense.require(
        plan, like, "gemma2", embedding_scale=math.sqrt(plan.hidden_size), logit_softcap=plan.logit_softcap
    )
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        **dense.write(plan),
        "hidden_activation": dense.THEIRS[inner.activation],
        "attention_bias": mixer.bias,
        "query_pre_attn_scalar": dense.pre_scalar(mixer),
        "sliding_window": dense.only_window(plan, "gemma2"),
        "layer_types": dense.layer_types(plan),
        "attn_logit_softcapping": mixer.softcap,
        "final_logit_softcapping": plan.logit_softcap,
    }


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    return dense.rules(config, NORMS)
