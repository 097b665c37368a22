"""Mixtral (`MixtralForCausalLM`, arXiv:2401.04088): grouped-query attention, in every layer k of E experts."""

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

MODEL_TYPES = ("mixtral",)
IGNORED: tuple[str, ...] = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)

__all__ = ["IGNORED", "MODEL_TYPES", "build", "copies", "read", "rules", "write"]


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["MixtralForCausalLM"], None))
    keys.require("attention_bias", (False,))
    norm = Norm("rms", keys.number("rms_norm_eps", 1e-5))
    heads, layers = keys.whole("num_attention_heads", 32), expert_stack.num_layers(keys, 32)
    inner = FeedForward(
        keys.whole("intermediate_size", 14336), activation(keys.take("hidden_act", "silu"), where)
    )
    head_dim = keys.optional("head_dim") or keys.whole("hidden_size", 4096) // heads
    try:
        attention = GroupedQuery(
            heads,
            keys.optional("num_key_value_heads", 8) or heads,
            head_dim,
            expert_stack.rope(keys, head_dim, 131072, 1e6),
            keys.optional("sliding_window"),
        )
        router = TopK(keys.whole("num_experts_per_tok", 2))
        experts = MixtureOfExperts(keys.whole("num_local_experts", 8, MAX_EXPERTS), inner, router)
        layer = Layer(attention, experts, norm)
        plan = expert_stack.around(keys, (layer,) * layers, norm, (32000, 4096, 131072), MODEL_TYPES[0])
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no Mixtral.", f"{where}: {error}", "restore the file"
        ) from error
    keys.harmless(HARMLESS)
    keys.done()
    return plan


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no Mixtral."""
    first, mixer, experts = config.layers[0], config.layers[0].mixer, config.layers[0].feed_forward
    if not isinstance(mixer, GroupedQuery) or not isinstance(experts, MixtureOfExperts) or mixer.rope is None:
        raise _no_mixtral(config)
    same_attention = mixer == GroupedQuery(
        mixer.num_heads, mixer.num_kv_heads, mixer.head_dim, mixer.rope, mixer.window
    )
    same_experts = experts == MixtureOfExperts(experts.num_experts, experts.expert, experts.router)
    gated = experts.expert == FeedForward(experts.expert.width, experts.expert.activation)
    routed = isinstance(experts.router, TopK) and experts.router.normalize
    alike = all(layer == first for layer in config.layers) and expert_stack.plain(config)
    if (
        not (same_attention and same_experts and gated and routed and alike)
        or experts.expert.activation not in THEIRS
    ):
        raise _no_mixtral(config)
    assert isinstance(experts.router, TopK)
    return expert_stack.write_around(config, "MixtralForCausalLM") | {
        "model_type": MODEL_TYPES[0],
        "intermediate_size": experts.expert.width,
        "hidden_act": THEIRS[experts.expert.activation],
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_kv_heads,
        "head_dim": mixer.head_dim,
        "sliding_window": mixer.window,
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.router.k,
        **rope_keys.write(mixer.rope, mixer.head_dim),
    }


def _no_mixtral(config: Architecture) -> UsageError:
    return UsageError("Only equal layers of plain grouped-query attention and normalized top-k experts are a Mixtral.",
                      f"the first layer is {config.layers[0]}", "save another family")  # fmt: skip


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = expert_stack.outer_rules(config)
    for n, layer in enumerate(config.layers):
        assert isinstance(layer.mixer, GroupedQuery) and isinstance(layer.feed_forward, MixtureOfExperts)
        found += expert_stack.grouped_rules(n, layer.mixer)
        theirs, ours = f"model.layers.{n}.block_sparse_moe.", f"blocks.{n}.feed_forward."
        found += expert_stack.expert_rules(theirs, ours, layer.feed_forward, ("w1", "w3", "w2"))
    return found
