"""RoBERTa (arXiv:1907.11692): BERT without next sentences, whose positions start behind the padding id:
`RobertaForMaskedLM` and `RobertaModel`. Its masked-token head has GELU whatever the layers have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families import bert
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.encoder import Encoder, EncoderConfig
from ownlm.model.encoder_heads import EncoderHeads

MODEL_TYPES = ("roberta",)
ARCHITECTURES = ("RobertaForMaskedLM", "RobertaModel")
IGNORED = (r"(roberta\.)?embeddings\.position_ids", r"roberta\.pooler\..*")


def read(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The config of a RoBERTa folder. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    masked = bert.architecture(keys, ARCHITECTURES, "RobertaModel", where) == "RobertaForMaskedLM"
    options = bert.common(keys, where)
    padding = raw.get("pad_token_id", 1)
    if not isinstance(padding, int) or not 0 <= padding < options["max_positions"] - 1:
        raise ArtifactError("RoBERTa's positions start behind a padding id that is not possible.",
                            f"{where}: pad_token_id = {padding!r}", "restore the file")  # fmt: skip
    options["max_positions"] -= padding + 1
    heads = EncoderHeads(masked="gelu" if masked else None, pooler=None if masked else "tanh", norm_eps=options["norm_eps"])  # fmt: skip
    keys.done()
    return bert.built(where, **options, heads=heads, padding_id=padding, family="roberta")


def write(config: EncoderConfig) -> dict[str, Any]:
    kind = "RobertaModel" if config.heads.masked is None else "RobertaForMaskedLM"
    return {
        "architectures": [kind],
        "model_type": "roberta",
        **bert.common_keys(config),
        "pad_token_id": config.embedding.padding_id,
    }


def build(config: EncoderConfig) -> nn.Module:
    return Encoder(config)


def rules(config: EncoderConfig) -> list[Rule]:
    if config.heads.masked is None:
        return bert.trunk(config, "") + bert.pair("pooler.dense", "pooler.dense")
    found = bert.trunk(config, "roberta.")
    found += bert.pair("masked.dense", "lm_head.dense") + bert.pair("masked.norm", "lm_head.layer_norm")
    return [*found, same("lm_head.bias", "masked.bias")]


def copies(config: EncoderConfig) -> dict[str, str]:
    if config.heads.masked is None:
        return {}
    return {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }
