"""BART (arXiv:1910.13461): `BartForConditionalGeneration`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.absolute import Learned
from ownlm.model.adapters import activations
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families.bert import one_id, pair
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.attention.cross import Heads
from ownlm.model.bart import bart
from ownlm.model.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

MODEL_TYPES = ("bart",)
IGNORED: tuple[str, ...] = ()
HARMLESS = (
    "dropout", "attention_dropout", "activation_dropout", "classifier_dropout", "classif_dropout", "encoder_layerdrop",
    "decoder_layerdrop", "init_std", "id2label", "label2id", "num_labels", "_num_labels", "task_specific_params",
    "gradient_checkpointing", "num_hidden_layers", "forced_eos_token_id", "forced_bos_token_id", "num_beams",
    "no_repeat_ngram_size", "early_stopping", "max_length", "min_length", "length_penalty", "prefix",
    "force_bos_token_to_be_generated", "output_past", "tokenizer_class", "use_cache",
)  # fmt: skip
"""Dropout, initial values and settings of generation; num_hidden_layers repeats encoder_layers."""

LAYER = {
    **{f"attention.{ours}": f"self_attn.{theirs}" for ours, theirs in zip("qkvo", ("q_proj", "k_proj", "v_proj", "out_proj"))},
    "attention_norm": "self_attn_layer_norm",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "feed_forward_norm": "final_layer_norm",
}  # fmt: skip
CROSS = {
    **{f"cross.{ours}": f"encoder_attn.{theirs}" for ours, theirs in zip("qkvo", ("q_proj", "k_proj", "v_proj", "out_proj"))},
    "cross_norm": "encoder_attn_layer_norm",
}  # fmt: skip


def read(raw: Mapping[str, Any], where: str) -> EncoderDecoderConfig:
    """The config of a BART folder. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["BartForConditionalGeneration"],))
    keys.require("is_encoder_decoder", (True,))
    for key in (
        "is_decoder",
        "add_bias_logits",
        "add_final_layer_norm",
        "normalize_before",
        "static_position_embeddings",
    ):
        keys.require(key, (False,))
    keys.require("extra_pos_embeddings", (2,))
    keys.require("normalize_embedding", (True,))
    keys.require("tie_word_embeddings", (True,))
    keys.require("quantization_config", (None,))
    keys.harmless(HARMLESS)
    sides = [tuple(keys.take(f"{side}_{key}", default) for key, default in (("layers", 12), ("attention_heads", 16), ("ffn_dim", 4096)))
             for side in ("encoder", "decoder")]  # fmt: skip
    padding, end = one_id(raw, "pad_token_id", 1, where), one_id(raw, "eos_token_id", 2, where)
    start = one_id(raw, "decoder_start_token_id", 2, where)
    sizes = keys.take("vocab_size", 50265), keys.take("d_model", 1024)
    options: dict[str, Any] = {
        "max_positions": keys.take("max_position_embeddings", 1024),
        "activation": activations.ours(keys.take("activation_function", "gelu"), where),
        "scale_embedding": keys.take("scale_embedding", False),
        "pad_id": 1 if padding is None else padding,
        "eos_id": end,
        "start_id": 2 if start is None else start,
    }
    keys.done()
    try:
        return bart(*sizes, *sides, **options)
    except (UsageError, TypeError) as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error}", "restore the file") from error  # fmt: skip


def write(config: EncoderDecoderConfig) -> dict[str, Any]:
    if not isinstance(config.positions, Learned) or not config.output_bias or config.embedding_norm is None:
        raise UsageError(
            "This encoder-decoder is no BART.", f"family {config.family!r}", "save it as its own family"
        )
    found: dict[str, Any] = {
        "architectures": ["BartForConditionalGeneration"],
        "model_type": "bart",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "max_position_embeddings": config.positions.max_positions,
        "activation_function": activations.THEIRS[config.encoder.feed_forward.activation],
        "scale_embedding": config.embedding_scale != 1.0,
        "tie_word_embeddings": True,
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.start_id,
        "forced_eos_token_id": None,
    }
    for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        found[f"{side}_layers"], found[f"{side}_ffn_dim"] = stack.num_layers, stack.feed_forward.width
        found[f"{side}_attention_heads"] = (
            stack.attention.num_heads if isinstance(stack.attention, Heads) else 0
        )
    return found


def build(config: EncoderDecoderConfig) -> nn.Module:
    return EncoderDecoder(config)


def rules(config: EncoderDecoderConfig) -> list[Rule]:
    found = [
        same("model.shared.weight", "embedding.weight"),
        Rule("final_logits_bias", ("output_bias",), lambda parts: parts[0][None], lambda t: [t[0]]),
    ]
    for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        found.append(same(f"model.{side}.embed_positions.weight", f"{side}_positions.table.weight"))
        found += pair(f"{side}_embedding_norm", f"model.{side}.layernorm_embedding")
        for n in range(stack.num_layers):
            for ours, theirs in (LAYER | (CROSS if side == "decoder" else {})).items():
                found += pair(f"{side}.blocks.{n}.{ours}", f"model.{side}.layers.{n}.{theirs}")
    return found


def copies(config: EncoderDecoderConfig) -> dict[str, str]:
    names = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
    return dict.fromkeys(names, "model.shared.weight")
