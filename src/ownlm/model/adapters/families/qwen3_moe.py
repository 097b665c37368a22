"""Qwen3-MoE (`Qwen3MoeForCausalLM`, arXiv:2505.09388): normed queries and keys, experts in some or all layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import expert_stack, rope_keys
from ownlm.model.adapters.activations import THEIRS
from ownlm.model.adapters.activations import ours as activation
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.expert_stack import HARMLESS, MAX_EXPERTS, copies
from ownlm.model.adapters.rules import Rule
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.routing import TopK

MODEL_TYPES = ("qwen3_moe",)
IGNORED: tuple[str, ...] = ()

__all__ = ["IGNORED", "MODEL_TYPES", "build", "copies", "read", "rules", "write"]


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["Qwen3MoeForCausalLM"], None))
    norm = Norm("rms", keys.number("rms_norm_eps", 1e-6))
    layers, act = expert_stack.num_layers(keys, 24), activation(keys.take("hidden_act", "silu"), where)
    dense = FeedForward(keys.whole("intermediate_size", 6144), act)
    expert = FeedForward(keys.whole("moe_intermediate_size", 768), act)
    try:
        router = TopK(keys.whole("num_experts_per_tok", 8), keys.switch("norm_topk_prob", False))
        experts = MixtureOfExperts(_num_experts(keys), expert, router)
        attention = _attention(keys, norm)
        sparse = _sparse(keys, layers)
        stack = tuple(Layer(attention, experts if n in sparse else dense, norm) for n in range(layers))
        plan = expert_stack.around(keys, stack, norm, (151936, 2048, 32768), MODEL_TYPES[0])
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no Qwen3-MoE.", f"{where}: {error}", "restore the file"
        ) from error
    keys.require(
        "max_window_layers", (raw.get("max_window_layers"),)
    )  # of Qwen2; without effect in this family
    keys.harmless(HARMLESS)
    keys.done()
    return plan


def _num_experts(keys: Reader) -> int:
    """num_experts in transformers 4, num_local_experts in 5."""
    old, new = (
        keys.optional("num_experts", None, MAX_EXPERTS),
        keys.optional("num_local_experts", None, MAX_EXPERTS),
    )
    if old is not None and new is not None and old != new:
        raise keys.wrong("num_local_experts", new, f"num_experts = {old}, and an equal number")
    return old or new or 128


def _attention(keys: Reader, norm: Norm) -> GroupedQuery:
    heads, bias = keys.whole("num_attention_heads", 32), keys.switch("attention_bias", False)
    window = keys.optional("sliding_window", 4096)
    head_dim = keys.optional("head_dim") or keys.whole("hidden_size", 2048) // heads
    return GroupedQuery(
        heads,
        keys.optional("num_key_value_heads", 4) or heads,
        head_dim,
        expert_stack.rope(keys, head_dim, 32768, 10000.0),
        window if keys.switch("use_sliding_window", False) else None,
        bias,
        bias,
        norm,
    )


def _sparse(keys: Reader, layers: int) -> set[int]:
    """Layers with experts: every decoder_sparse_step-th, less mlp_only_layers."""
    step, dense = keys.whole("decoder_sparse_step", 1), keys.take("mlp_only_layers", None) or []
    if not isinstance(dense, list) or not all(type(n) is int for n in dense):
        raise keys.wrong("mlp_only_layers", dense, "a list of layers")
    return {n for n in range(layers) if n not in dense and (n + 1) % step == 0}


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no Qwen3-MoE."""
    mixer = config.layers[0].mixer
    experts = {
        layer.feed_forward for layer in config.layers if isinstance(layer.feed_forward, MixtureOfExperts)
    }
    dense = {layer.feed_forward for layer in config.layers} - experts
    if not isinstance(mixer, GroupedQuery) or mixer.rope is None or len(experts) != 1 or len(dense) > 1:
        raise _no_qwen(config)
    mixture = experts.pop()
    expert, inner = (
        mixture.expert,
        next(iter(dense), FeedForward(mixture.expert.width, mixture.expert.activation)),
    )
    whole = (
        mixer.num_heads,
        mixer.num_kv_heads,
        mixer.head_dim,
        mixer.rope,
        mixer.window,
        mixer.bias,
        mixer.bias,
    )
    matches = (
        mixer == GroupedQuery(*whole, config.norm)
        and mixture == MixtureOfExperts(mixture.num_experts, expert, mixture.router)
        and isinstance(inner, FeedForward)
        and all(spec == FeedForward(spec.width, expert.activation) for spec in (expert, inner))
        and all(layer.mixer == mixer for layer in config.layers)
        and expert_stack.plain(config)
    )
    if not matches or not isinstance(mixture.router, TopK) or expert.activation not in THEIRS:
        raise _no_qwen(config)
    assert isinstance(inner, FeedForward)
    return expert_stack.write_around(config, "Qwen3MoeForCausalLM") | {
        "model_type": MODEL_TYPES[0],
        "intermediate_size": inner.width,
        "moe_intermediate_size": expert.width,
        "hidden_act": THEIRS[expert.activation],
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_kv_heads,
        "head_dim": mixer.head_dim,
        "attention_bias": mixer.bias,
        "use_sliding_window": mixer.window is not None,
        "sliding_window": mixer.window,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [n for n, layer in enumerate(config.layers) if layer.feed_forward != mixture],
        "num_experts": mixture.num_experts,
        "num_local_experts": mixture.num_experts,
        "num_experts_per_tok": mixture.router.k,
        "norm_topk_prob": mixture.router.normalize,
        **rope_keys.write(mixer.rope, mixer.head_dim),
    }


def _no_qwen(config: Architecture) -> UsageError:
    return UsageError("Only layers of grouped-query attention with normed heads, with one kind of top-k experts and one "
                      "of dense layers, are a Qwen3-MoE.", f"the first layer is {config.layers[0]}", "save another family")  # fmt: skip


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = expert_stack.outer_rules(config)
    for n, layer in enumerate(config.layers):
        assert isinstance(layer.mixer, GroupedQuery)
        found += expert_stack.grouped_rules(n, layer.mixer)
        theirs, ours = f"model.layers.{n}.mlp.", f"blocks.{n}.feed_forward."
        if isinstance(layer.feed_forward, MixtureOfExperts):
            found += expert_stack.expert_rules(theirs, ours, layer.feed_forward)
        else:
            assert isinstance(layer.feed_forward, FeedForward)
            found += expert_stack.dense_rules(theirs, ours, layer.feed_forward)
    return found
