"""ALBERT (arXiv:1909.11942): narrow embeddings, layers that share their weights: `AlbertForMaskedLM`, `AlbertModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.model.adapters import activations
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families import bert
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.encoder import Encoder, EncoderConfig
from ownlm.model.encoder_heads import EncoderHeads

MODEL_TYPES = ("albert",)
ARCHITECTURES = ("AlbertForMaskedLM", "AlbertModel")
IGNORED = (r"(albert\.)?embeddings\.position_ids", r"albert\.pooler\..*", r"sop_classifier\..*")
HARMLESS = ("classifier_dropout_prob", "down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks", "layers_to_keep")  # fmt: skip

LAYER = {
    "attention.q": "attention.query",
    "attention.k": "attention.key",
    "attention.v": "attention.value",
    "attention.o": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "feed_forward.up": "ffn",
    "feed_forward.down": "ffn_output",
    "feed_forward_norm": "full_layer_layer_norm",
}
DEFAULTS = {
    "vocab_size": 30000, "hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384,
    "hidden_act": "gelu_new",
}  # fmt: skip
"""Where transformers assumes something else for ALBERT than for BERT."""


def read(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The config of an ALBERT folder. Raises ArtifactError."""
    keys = Reader(DEFAULTS | dict(raw), where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("inner_group_num", (1,))
    keys.harmless(HARMLESS)
    masked = bert.architecture(keys, ARCHITECTURES, "AlbertModel", where) == "AlbertForMaskedLM"
    options = bert.common(keys, where)
    heads = EncoderHeads(
        masked=options["activation"] if masked else None,
        pooler=None if masked else "tanh",
        norm_eps=options["norm_eps"],
    )
    width, distinct = keys.take("embedding_size", 128), keys.take("num_hidden_groups", 1)
    keys.done()
    return bert.built(where, **options, heads=heads, embedding_size=width, num_distinct=distinct,
                      always_project=True, family="albert")  # fmt: skip


def write(config: EncoderConfig) -> dict[str, Any]:
    return {
        "architectures": ["AlbertModel" if config.heads.masked is None else "AlbertForMaskedLM"],
        "model_type": "albert",
        **bert.common_keys(config),
        "hidden_act": activations.THEIRS[config.stack.feed_forward.activation],
        "embedding_size": config.embedding.width,
        "num_hidden_groups": config.stack.distinct,
        "inner_group_num": 1,
    }


def build(config: EncoderConfig) -> nn.Module:
    return Encoder(config)


def rules(config: EncoderConfig) -> list[Rule]:
    at = "" if config.heads.masked is None else "albert."
    e = f"{at}embeddings"
    found = [
        same(f"{e}.word_embeddings.weight", "embedding.word.weight"),
        same(f"{e}.position_embeddings.weight", "embedding.positions.table.weight"),
    ]
    if config.embedding.num_types:
        found.append(same(f"{e}.token_type_embeddings.weight", "embedding.types.weight"))
    found += bert.pair("embedding.norm", f"{e}.LayerNorm")
    found += bert.pair("embedding.project", f"{at}encoder.embedding_hidden_mapping_in")
    for n in range(config.stack.distinct):
        for ours, theirs in LAYER.items():
            group = f"{at}encoder.albert_layer_groups.{n}.albert_layers.0"
            found += bert.pair(f"stack.blocks.{n}.{ours}", f"{group}.{theirs}")
    if config.heads.masked is None:
        return found + bert.pair("pooler.dense", "pooler")
    found += bert.pair("masked.dense", "predictions.dense") + bert.pair(
        "masked.norm", "predictions.LayerNorm"
    )
    return [*found, same("predictions.bias", "masked.bias")]


def copies(config: EncoderConfig) -> dict[str, str]:
    if config.heads.masked is None:
        return {}
    return {
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    }
