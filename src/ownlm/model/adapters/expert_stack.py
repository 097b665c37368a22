"""What the folders of decoders with experts have in common: keys of config.json, and the tensors around the experts."""

from __future__ import annotations

from typing import Any

from ownlm.model.adapters import rope_keys
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.config import MAX_LAYERS, MAX_POSITIONS
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.moe import MixtureOfExperts
from ownlm.model.position import Rope

HARMLESS = (
    "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "attention_dropout", "pretraining_tp",
    "aux_loss_alpha", "seq_aux", "ep_size",
)  # fmt: skip
"""What matters in training alone, where ownlm has its own settings, or where the work is shared out."""

MAX_EXPERTS = 1 << 12


def around(
    keys: Reader, layers: tuple[Any, ...], norm: Norm, defaults: tuple[int, int, int], family: str
) -> Architecture:
    """The decoder around its layers; defaults: of vocab_size, hidden_size and max_position_embeddings."""
    return Architecture(
        keys.whole("vocab_size", defaults[0]),
        keys.whole("hidden_size", defaults[1]),
        layers,
        keys.whole("max_position_embeddings", defaults[2], MAX_POSITIONS),
        norm,
        keys.switch("tie_word_embeddings", False),
        initializer_range=keys.number("initializer_range", 0.02),
        family=family,
    )


def num_layers(keys: Reader, default: int) -> int:
    return keys.whole("num_hidden_layers", default, MAX_LAYERS)


def write_around(config: Architecture, architectures: str) -> dict[str, Any]:
    """The keys that `around` read."""
    assert config.norm is not None, "checked by the family"
    return {
        "architectures": [architectures],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm.eps,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_dropout": 0.0,
    }


def plain(config: Architecture) -> bool:
    """Whether nothing around the layers, and no layer's wiring or norm, is other than in these families."""
    options = (
        config.positions,
        config.embedding_norm,
        config.logit_softcap,
        config.embedding_scale != 1.0,
    )
    norm = config.norm
    return (
        not any(options)
        and norm is not None
        and norm == Norm("rms", norm.eps)
        and all(layer.wiring == "pre" and layer.norm == norm for layer in config.layers)
    )


def outer_rules(config: Architecture) -> list[Rule]:
    """Embedding, output layer, norms."""
    found = [same("model.embed_tokens.weight", "embedding.weight"), same("model.norm.weight", "norm.weight")]
    if not config.tie_embeddings:
        found.append(same("lm_head.weight", "output.weight"))
    for n in range(config.num_layers):
        found.append(same(f"model.layers.{n}.input_layernorm.weight", f"blocks.{n}.mixer_norm.weight"))
        found.append(
            same(f"model.layers.{n}.post_attention_layernorm.weight", f"blocks.{n}.feed_forward_norm.weight")
        )
    return found


def copies(config: Architecture) -> dict[str, str]:
    """Some writers store the tied output layer too."""
    return {"lm_head.weight": "model.embed_tokens.weight"} if config.tie_embeddings else {}


def grouped_rules(n: int, mixer: GroupedQuery) -> list[Rule]:
    theirs, ours = f"model.layers.{n}.self_attn.", f"blocks.{n}.mixer."
    found = [same(f"{theirs}{part}_proj.weight", f"{ours}{part}.weight") for part in "qkvo"]
    if mixer.bias:
        found += [same(f"{theirs}{part}_proj.bias", f"{ours}{part}.bias") for part in "qkv"]
    if mixer.output_bias:
        found.append(same(f"{theirs}o_proj.bias", f"{ours}o.bias"))
    if mixer.qk_norm is not None:
        found += [same(f"{theirs}{part}_norm.weight", f"{ours}{part}_norm.weight") for part in "qk"]
    return found


def dense_rules(theirs: str, ours: str, spec: FeedForward, names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")) -> list[Rule]:  # fmt: skip
    """A gated feed-forward layer; theirs and ours end in a dot."""
    kinds = ("weight", "bias") if spec.bias else ("weight",)
    parts = zip(names, ("gate", "up", "down"), strict=True)
    return [
        same(f"{theirs}{there}.{kind}", f"{ours}{here}.{kind}") for there, here in parts for kind in kinds
    ]


def expert_rules(theirs: str, ours: str, spec: MixtureOfExperts, names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")) -> list[Rule]:  # fmt: skip
    """Router and experts: transformers 4 and 5 both store every expert by itself."""
    found = [same(f"{theirs}gate.weight", f"{ours}router.weight")]
    for e in range(spec.num_experts):
        found += dense_rules(f"{theirs}experts.{e}.", f"{ours}experts.{e}.", spec.expert, names)
    return found


def rope(keys: Reader, head_dim: int, positions: int, theta: float) -> Rope:
    """The rotation; positions and theta: the family's defaults."""
    return rope_keys.read(
        keys, head_dim, keys.whole("max_position_embeddings", positions, MAX_POSITIONS), theta
    )
