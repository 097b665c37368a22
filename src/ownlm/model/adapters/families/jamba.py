"""Jamba (`JambaForCausalLM`): Mamba and attention in turn, experts in some layers (hybrid.py).

Attention has no positions at all; dt, B and C of Mamba are normed; the two experts' weights are not made to sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families.mamba import expansion, mixer_rules, rank_of
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.config import MAX_LAYERS
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.routing import TopK
from ownlm.model.ssm.mamba import Mamba

MODEL_TYPES = ("jamba",)
IGNORED: tuple[str, ...] = ()
HARMLESS = (
    "use_mamba_kernels", "use_mambapy", "use_associative_scan", "output_router_logits", "router_aux_loss_coef",
    "num_logits_to_keep", "calc_logits_for_entire_prompt",
)  # fmt: skip


def read(raw: Mapping[str, Any], where: str) -> Architecture:
    """config.json of transformers 4.57 or 5.x. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["JambaForCausalLM"], None))
    keys.require("hidden_act", ("silu", "swish"))
    keys.require("attention_dropout", (0, 0.0))
    keys.require("mamba_inner_layernorms", (True,))
    keys.require("sliding_window", (None,))
    D, layers = keys.whole("hidden_size", 4096), keys.whole("num_hidden_layers", 32, MAX_LAYERS)
    norm = Norm("rms", keys.number("rms_norm_eps", 1e-6))
    try:
        attention, mamba = _mixers(keys, D, norm)
        dense = FeedForward(keys.whole("intermediate_size", 14336))
        num_experts, k = keys.whole("num_experts", 16), keys.whole("num_experts_per_tok", 2)
        experts = MixtureOfExperts(num_experts, dense, TopK(k, normalize=False)) if num_experts > 1 else dense
        attends, chooses = _places(keys, "attn_layer", 8, 4), _places(keys, "expert_layer", 2, 1)
        plan = Architecture(
            keys.whole("vocab_size", 65536),
            D,
            tuple(
                Layer(
                    attention if n % attends[0] == attends[1] else mamba,
                    experts if n % chooses[0] == chooses[1] else dense,
                    norm,
                )
                for n in range(layers)
            ),
            keys.whole("max_position_embeddings", 262144),
            norm,
            keys.switch("tie_word_embeddings", False),
            initializer_range=keys.number("initializer_range", 0.02),
            family="jamba",
        )
    except UsageError as error:
        raise ArtifactError(
            "config.json describes no Jamba.", f"{where}: {error}", "restore the file"
        ) from error
    keys.harmless(HARMLESS)
    keys.done()
    return plan


def _mixers(keys: Reader, width: int, norm: Norm) -> tuple[GroupedQuery, Mamba]:
    heads = keys.whole("num_attention_heads", 32)
    kv_heads = heads if keys.take("num_key_value_heads", 8) is None else keys.whole("num_key_value_heads", 8)
    if width % heads:
        raise UsageError(
            "hidden_size is no multiple of num_attention_heads.", f"{width}, {heads}", "correct one"
        )
    mamba = Mamba(
        int(keys.number("mamba_expand", 2) * width),
        keys.whole("mamba_d_state", 16),
        rank_of(keys, "mamba_dt_rank", width),
        keys.whole("mamba_d_conv", 4),
        keys.switch("mamba_proj_bias", False),
        keys.switch("mamba_conv_bias", True),
        selection_norm=norm,
    )
    return GroupedQuery(heads, kv_heads, width // heads), mamba


def _places(keys: Reader, name: str, period: int, offset: int) -> tuple[int, int]:
    """Layers n with n % period == offset."""
    period, start = keys.whole(f"{name}_period", period), keys.take(f"{name}_offset", offset)
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < period:
        raise UsageError(
            f"{name}_offset must be a number below {name}_period.", f"{start!r}, {period}", "correct one"
        )
    return period, start


def write(config: Architecture) -> dict[str, Any]:
    """The keys of config.json that describe the model. Raises UsageError where it is no Jamba."""
    attention, mamba, dense, experts = _parts(config)
    attends = _period([layer.mixer == attention for layer in config.layers])
    chooses = _period([layer.feed_forward == experts for layer in config.layers])
    return {
        "architectures": ["JambaForCausalLM"],
        "model_type": "jamba",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": dense.width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "attn_layer_period": attends[0],
        "attn_layer_offset": attends[1],
        "num_experts": 1 if experts is None else experts.num_experts,
        "num_experts_per_tok": experts.router.k
        if experts is not None and isinstance(experts.router, TopK)
        else 1,
        "expert_layer_period": chooses[0],
        "expert_layer_offset": chooses[1],
        "mamba_expand": expansion(mamba.inner_width, config.hidden_size),
        "mamba_d_state": mamba.state_size,
        "mamba_dt_rank": mamba.rank(config.hidden_size),
        "mamba_d_conv": mamba.conv_kernel,
        "mamba_proj_bias": mamba.bias,
        "mamba_conv_bias": mamba.conv_bias,
        "hidden_act": "silu",
        "rms_norm_eps": config.layers[0].norm.eps,
        "max_position_embeddings": config.max_positions,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tie_embeddings,
    }


def _parts(config: Architecture) -> tuple[GroupedQuery, Mamba, FeedForward, MixtureOfExperts | None]:
    """What the layers are made of, two kinds of mixer and of feed-forward layer at most. Raises UsageError."""
    norm = config.layers[0].norm
    mixers = {layer.mixer for layer in config.layers}
    seconds = {layer.feed_forward for layer in config.layers}
    mambas = [m for m in mixers if isinstance(m, Mamba)]
    attentions = [m for m in mixers if isinstance(m, GroupedQuery)]
    mixtures = [f for f in seconds if isinstance(f, MixtureOfExperts)]
    dense = {f.expert if isinstance(f, MixtureOfExperts) else f for f in seconds}
    # Layers that do not occur still have numbers in config.json: one head, states of the usual size.
    attention = attentions[0] if attentions else GroupedQuery(1, 1, config.hidden_size)
    mamba = mambas[0] if mambas else Mamba(2 * config.hidden_size, selection_norm=norm)
    found = next(iter(dense))
    plain = Architecture(config.vocab_size, config.hidden_size, config.layers, config.max_positions, norm,
                         config.tie_embeddings, initializer_range=config.initializer_range, family=config.family)  # fmt: skip
    good = (
        len(mambas) <= 1 and len(attentions) <= 1 and len(mixtures) <= 1
        and len(mambas) + len(attentions) == len(mixers)
        and len(dense) == 1 and found == FeedForward(getattr(found, "width", 1))
        and attention == GroupedQuery(attention.num_heads, attention.num_kv_heads, config.hidden_size // attention.num_heads)
        and mamba.selection_norm == norm == Norm("rms", norm.eps)
        and all(m == MixtureOfExperts(m.num_experts, m.expert, TopK(getattr(m.router, "k", 1), normalize=False)) for m in mixtures)
        and all(layer.norm == norm and layer.wiring == "pre" for layer in config.layers)
        and plain == config
    )  # fmt: skip
    if not good or not isinstance(found, FeedForward):
        raise UsageError("These layers are not those of a Jamba.", f"{len(config.layers)} layers, the first is {config.layers[0]}",
                         "save another family")  # fmt: skip
    return attention, mamba, found, mixtures[0] if mixtures else None


def _period(here: list[bool]) -> tuple[int, int]:
    """(period, offset) of the places; raises UsageError where there is none."""
    for period in range(1, len(here) + 2):
        for offset in range(period):
            if here == [n % period == offset for n in range(len(here))]:
                return period, offset
    raise UsageError("Jamba's layers must repeat with one period.", str([n for n, h in enumerate(here) if h]),
                     "save another family")  # fmt: skip


def build(config: Architecture) -> nn.Module:
    return Decoder(config)


def rules(config: Architecture) -> list[Rule]:
    found = [
        same("model.embed_tokens.weight", "embedding.weight"),
        same("model.final_layernorm.weight", "norm.weight"),
    ]
    if not config.tie_embeddings:
        found.append(same("lm_head.weight", "output.weight"))
    for n, layer in enumerate(config.layers):
        theirs, ours = f"model.layers.{n}.", f"blocks.{n}."
        found.append(same(f"{theirs}input_layernorm.weight", f"{ours}mixer_norm.weight"))
        found.append(same(f"{theirs}pre_ff_layernorm.weight", f"{ours}feed_forward_norm.weight"))
        if isinstance(layer.mixer, Mamba):
            found += mixer_rules(layer.mixer, f"{theirs}mamba.", f"{ours}mixer.")
            for there, here in (("dt", "dt_norm"), ("b", "write_norm"), ("c", "read_norm")):
                found.append(same(f"{theirs}mamba.{there}_layernorm.weight", f"{ours}mixer.{here}.weight"))
        else:
            found += [same(f"{theirs}self_attn.{p}_proj.weight", f"{ours}mixer.{p}.weight") for p in "qkvo"]
        experts = [""]
        if isinstance(layer.feed_forward, MixtureOfExperts):
            found.append(same(f"{theirs}feed_forward.router.weight", f"{ours}feed_forward.router.weight"))
            experts = [f"experts.{e}." for e in range(layer.feed_forward.num_experts)]
        for expert in experts:
            for part in ("gate", "up", "down"):
                found.append(same(f"{theirs}feed_forward.{expert}{part}_proj.weight", f"{ours}feed_forward.{expert}{part}.weight"))  # fmt: skip
    return found


def copies(config: Architecture) -> dict[str, str]:
    return {"lm_head.weight": "model.embed_tokens.weight"} if config.tie_embeddings else {}
