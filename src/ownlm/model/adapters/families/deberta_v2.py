"""DeBERTa v2 and v3 (arXiv:2006.03654, 2111.09543): `DebertaV2ForMaskedLM` and `DebertaV2Model`.

Their convolution (v2 xlarge), narrow embeddings and the head of legacy=false are refused. Outputs at padding tokens
differ from transformers, which lets padding see nothing; text never sees padding in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.absolute import Learned
from ownlm.model.adapters import activations
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families import bert
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.deberta import Disentangled, Distances
from ownlm.model.encoder import Encoder, EncoderConfig
from ownlm.model.encoder_embedding import EncoderEmbedding
from ownlm.model.encoder_heads import EncoderHeads
from ownlm.model.layers import FeedForward, Norm
from ownlm.model.stack import Stack

MODEL_TYPES = ("deberta-v2",)
ARCHITECTURES = ("DebertaV2ForMaskedLM", "DebertaV2Model")
IGNORED = (
    r"(deberta\.)?embeddings\.position_(ids|embeddings\.weight)",
    r"mask_predictions\..*",
    r"lm_predictions\..*",
)
HARMLESS = ("pooler_dropout", "pooler_hidden_act", "pooler_hidden_size")
DEFAULTS = {
    "vocab_size": 128100, "hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 24,
    "intermediate_size": 6144, "type_vocab_size": 0, "layer_norm_eps": 1e-7,
}  # fmt: skip
"""Where transformers assumes something else than for BERT."""


def read(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The config of a DeBERTa-v2 folder. Raises ArtifactError."""
    keys = Reader(DEFAULTS | dict(raw), where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("legacy", (True,))
    keys.require("relative_attention", (True,))
    keys.require("conv_kernel_size", (0,))
    keys.require("embedding_size", (raw.get("hidden_size", 1536),))
    keys.harmless(HARMLESS)
    masked = bert.architecture(keys, ARCHITECTURES, "DebertaV2Model", where) == "DebertaV2ForMaskedLM"
    o = bert.common(keys, where)
    D, norm = o["hidden_size"], Norm("layer", o["norm_eps"], bias=True)
    size = keys.take("attention_head_size", D // max(o["num_heads"], 1))
    limit, table_buckets = keys.take("max_relative_positions", -1), keys.take("position_buckets", -1)
    limit = o["max_positions"] if limit < 1 else limit
    normed = _norm_of_distances(keys.take("norm_rel_ebd", "none"), where)
    try:
        attention = Disentangled(
            o["num_heads"],
            size,
            limit,
            table_buckets if table_buckets > 0 else None,
            _terms(keys.take("pos_att_type", None), where),
            keys.take("share_att_key", False),
        )
        stack = Stack(
            o["num_layers"],
            attention,
            FeedForward(o["intermediate_size"], o["activation"], gated=False, bias=True),
            norm,
            relative=Distances(attention.span, norm if normed else None),
        )
    except (UsageError, TypeError) as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error}", "restore the file") from error  # fmt: skip
    positions = Learned(o["max_positions"]) if keys.take("position_biased_input", True) else None
    keys.done()
    embedding = EncoderEmbedding(o["vocab_size"], D, positions, o["num_types"], norm)
    heads = EncoderHeads(masked=o["activation"] if masked else None, norm_eps=o["norm_eps"])
    return EncoderConfig(
        embedding, D, stack, heads, initializer_range=o["initializer_range"], family="deberta-v2"
    )


def _terms(raw: object, where: str) -> tuple[str, ...]:
    found = raw.split("|") if isinstance(raw, str) else raw or []
    if not isinstance(found, list) or not all(isinstance(f, str) for f in found):
        raise ArtifactError(
            "config.json has no possible pos_att_type.", f"{where}: {raw!r}", "restore the file"
        )
    return tuple(f.strip().lower() for f in found if f.strip())


def _norm_of_distances(raw: object, where: str) -> bool:
    if raw not in ("none", "layer_norm"):
        raise ArtifactError("This norm of the distances is not supported.", f"{where}: norm_rel_ebd = {raw!r}",
                            'use "none" or "layer_norm"')  # fmt: skip
    return raw == "layer_norm"


def write(config: EncoderConfig) -> dict[str, Any]:
    stack, attention, relative = config.stack, config.stack.attention, config.stack.relative
    if not isinstance(attention, Disentangled) or not isinstance(relative, Distances) or config.mask_decoder:
        raise UsageError("This encoder is no plain DeBERTa.", f"mask decoder {config.mask_decoder}", "transformers has no mask decoder")  # fmt: skip
    positions = config.embedding.positions
    if positions is None and attention.max_distance < 1:
        raise UsageError("This DeBERTa has no length.", str(attention), "give max_distance")
    return {
        "architectures": ["DebertaV2Model" if config.heads.masked is None else "DebertaV2ForMaskedLM"],
        "model_type": "deberta-v2",
        "vocab_size": config.embedding.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": stack.num_layers,
        "num_attention_heads": attention.num_heads,
        "attention_head_size": attention.head_dim,
        "intermediate_size": stack.feed_forward.width,
        "hidden_act": activations.THEIRS[stack.feed_forward.activation],
        "max_position_embeddings": attention.max_distance if positions is None else positions.max_positions,
        "max_relative_positions": attention.max_distance,
        "position_buckets": -1 if attention.num_buckets is None else attention.num_buckets,
        "relative_attention": True,
        "pos_att_type": list(attention.terms),
        "share_att_key": attention.share,
        "norm_rel_ebd": "none" if relative.norm is None else "layer_norm",
        "position_biased_input": positions is not None,
        "type_vocab_size": config.embedding.num_types,
        "layer_norm_eps": stack.norm.eps,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": True,
        "legacy": True,
    }


def build(config: EncoderConfig) -> nn.Module:
    return Encoder(config)


def rules(config: EncoderConfig) -> list[Rule]:
    at = "" if config.heads.masked is None else "deberta."
    found = bert.trunk(config, at)
    names = {"query.": "query_proj.", "key.": "key_proj.", "value.": "value_proj."}
    for theirs, right in names.items():
        found = [same(r.theirs.replace(f".self.{theirs}", f".self.{right}"), r.ours[0]) for r in found]
    found.append(same(f"{at}encoder.rel_embeddings.weight", "stack.relative.table.weight"))
    relative, attention = config.stack.relative, config.stack.attention
    if isinstance(relative, Distances) and relative.norm is not None:
        found += bert.pair("stack.relative.norm", f"{at}encoder.LayerNorm")
    if isinstance(attention, Disentangled) and not attention.share:
        for n in range(config.stack.num_layers):
            for term, ours, theirs in (
                ("c2p", "distance_k", "pos_key_proj"),
                ("p2c", "distance_q", "pos_query_proj"),
            ):
                if term in attention.terms:
                    ours, theirs = f"stack.blocks.{n}.attention.{ours}", f"{at}encoder.layer.{n}.attention.self.{theirs}"  # fmt: skip
                    found += bert.pair(ours, theirs)
    if config.heads.masked is None:
        return found
    found += bert.pair("masked.dense", "cls.predictions.transform.dense")
    found += bert.pair("masked.norm", "cls.predictions.transform.LayerNorm")
    return [*found, same("cls.predictions.bias", "masked.bias")]


def copies(config: EncoderConfig) -> dict[str, str]:
    if config.heads.masked is None:
        return {}
    return {
        "cls.predictions.decoder.weight": "deberta.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
