"""ELECTRA (arXiv:2003.10555): `ElectraForPreTraining` (the discriminator), `ElectraForMaskedLM` (the generator, whose
head has GELU whatever the layers have) and `ElectraModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families import bert
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.encoder import Encoder, EncoderConfig
from ownlm.model.encoder_heads import EncoderHeads

MODEL_TYPES = ("electra",)
ARCHITECTURES = ("ElectraForPreTraining", "ElectraForMaskedLM", "ElectraModel")
IGNORED = (r"(electra\.)?embeddings\.position_ids",)
HARMLESS = ("summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj")
DEFAULTS = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
"""Where transformers assumes something else for ELECTRA than for BERT."""


def read(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The config of an ELECTRA folder. Raises ArtifactError."""
    keys = Reader(DEFAULTS | dict(raw), where)
    keys.require("model_type", MODEL_TYPES)
    keys.harmless(HARMLESS)
    kind = bert.architecture(keys, ARCHITECTURES, "ElectraModel", where)
    options = bert.common(keys, where)
    heads = EncoderHeads(
        masked="gelu" if kind == "ElectraForMaskedLM" else None,
        replaced=options["activation"] if kind == "ElectraForPreTraining" else None,
        norm_eps=options["norm_eps"],
    )
    width = keys.take("embedding_size", 128)
    keys.done()
    return bert.built(where, **options, heads=heads, embedding_size=width, family="electra")


def write(config: EncoderConfig) -> dict[str, Any]:
    kind = "ElectraModel" if config.heads.replaced is None else "ElectraForPreTraining"
    kind = kind if config.heads.masked is None else "ElectraForMaskedLM"
    return {
        "architectures": [kind],
        "model_type": "electra",
        **bert.common_keys(config),
        "embedding_size": config.embedding.width,
    }


def build(config: EncoderConfig) -> nn.Module:
    return Encoder(config)


def rules(config: EncoderConfig) -> list[Rule]:
    bare = config.heads.masked is None and config.heads.replaced is None
    at = "" if bare else "electra."
    found = bert.trunk(config, at)
    if config.embedding.width != config.hidden_size:
        found += bert.pair("embedding.project", f"{at}embeddings_project")
    if config.heads.replaced is not None:
        found += bert.pair("replaced.dense", "discriminator_predictions.dense")
        found += bert.pair("replaced.score", "discriminator_predictions.dense_prediction")
    if config.heads.masked is not None:
        found += bert.pair("masked.dense", "generator_predictions.dense")
        found += bert.pair("masked.norm", "generator_predictions.LayerNorm")
        found.append(same("generator_lm_head.bias", "masked.bias"))
    return found


def copies(config: EncoderConfig) -> dict[str, str]:
    if config.heads.masked is None:
        return {}
    return {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"}
