"""T5 1.0 and 1.1, Flan-T5, ByT5 where its model_type is t5: `T5ForConditionalGeneration`.

transformers 4.57 scales the output layer exactly where it is tied; 5.x ties whatever has no lm_head.weight of its own
and says in `scale_decoder_outputs` whether it scales. A tied model that does not scale exists in 5.x only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import activations
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.families.bert import one_id
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.attention.cross import Heads
from ownlm.model.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ownlm.model.t5 import RelativeBuckets, t5

MODEL_TYPES = ("t5",)
IGNORED = (r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",)
"""Google's T5 1.0 checkpoints hold it; no version of the model ever used it."""
HARMLESS = (
    "dropout_rate", "classifier_dropout", "initializer_factor", "n_positions", "output_past", "task_specific_params",
    "tokenizer_class", "gradient_checkpointing", "use_cache", "id2label", "label2id", "num_labels",
)  # fmt: skip
"""n_positions is the length of training; the model has no positions that could end."""


def read(raw: Mapping[str, Any], where: str) -> EncoderDecoderConfig:
    """The config of a T5 folder. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    keys.require("architectures", (["T5ForConditionalGeneration"], ["T5WithLMHeadModel"]))
    keys.require("is_encoder_decoder", (True,))
    keys.require("is_decoder", (False,))
    keys.require("quantization_config", (None,))
    keys.harmless(HARMLESS)
    activation, gated = _feed_forward(keys, where)
    tied = keys.take("tie_word_embeddings", True)
    scaled = keys.take("scale_decoder_outputs", tied)
    padding = one_id(raw, "pad_token_id", 0, where)
    start = raw.get("decoder_start_token_id")
    options: dict[str, Any] = {
        "num_decoder_layers": keys.take("num_decoder_layers", None),
        "head_dim": keys.take("d_kv", 64),
        "num_buckets": keys.take("relative_attention_num_buckets", 32),
        "max_distance": keys.take("relative_attention_max_distance", 128),
        "norm_eps": keys.take("layer_norm_epsilon", 1e-6),
        "pad_id": 0 if padding is None else padding,
        "start_id": start,
        "eos_id": one_id(raw, "eos_token_id", 1, where),
    }
    sizes = [keys.take(key, default) for key, default in (
        ("vocab_size", 32128), ("d_model", 512), ("num_layers", 6), ("num_heads", 8), ("d_ff", 2048))]  # fmt: skip
    keys.done()
    try:
        return t5(
            *sizes, activation=activation, gated=gated, tie_embeddings=tied, scale_logits=scaled, **options
        )
    except (UsageError, TypeError) as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error}", "restore the file") from error  # fmt: skip


def _feed_forward(keys: Any, where: str) -> tuple[str, bool]:
    """(our activation, gated) from "relu", "gated-gelu" and their kind; "gated-gelu" means the tanh form."""
    name = keys.take("feed_forward_proj", "relu")
    parts = name.split("-") if isinstance(name, str) else []
    if len(parts) > 2 or not parts or (len(parts) == 2 and parts[0] != "gated"):
        raise ArtifactError("This feed-forward layer is not supported.", f"{where}: feed_forward_proj = {name!r}",
                            'use "relu" or "gated-gelu"')  # fmt: skip
    theirs = "gelu_new" if name == "gated-gelu" else parts[-1]
    keys.require("dense_act_fn", (theirs,))
    keys.require("is_gated_act", (len(parts) == 2,))
    return activations.ours(theirs, where), len(parts) == 2


def write(config: EncoderDecoderConfig) -> dict[str, Any]:
    stack, attention, relative = config.encoder, config.encoder.attention, config.encoder.relative
    if not isinstance(attention, Heads) or not isinstance(relative, RelativeBuckets):
        raise UsageError(
            "This encoder-decoder is no T5.", f"family {config.family!r}", "save it as its own family"
        )
    scaled = config.hidden_scale != 1.0
    if scaled and not config.tie_embeddings:
        raise UsageError("transformers scales T5's hidden states only where the output layer is tied.",
                         f"tie_embeddings = False, hidden_scale = {config.hidden_scale}",
                         "fold the scale into the output layer")  # fmt: skip
    name = activations.THEIRS[stack.feed_forward.activation]
    gated = stack.feed_forward.gated
    if gated and name == "gelu":
        raise UsageError("T5 has no gated layer with the exact GELU.", "activation gelu", "use gelu_tanh")
    proj = f"gated-{'gelu' if name == 'gelu_new' else name}" if gated else name
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "d_kv": attention.head_dim,
        "d_ff": stack.feed_forward.width,
        "num_layers": stack.num_layers,
        "num_decoder_layers": config.decoder.num_layers,
        "num_heads": attention.num_heads,
        "relative_attention_num_buckets": relative.num_buckets,
        "relative_attention_max_distance": relative.max_distance,
        "layer_norm_epsilon": stack.norm.eps,
        "feed_forward_proj": proj,
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": scaled,
        "decoder_start_token_id": config.start_id,
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
    }


def build(config: EncoderDecoderConfig) -> nn.Module:
    return EncoderDecoder(config)


def rules(config: EncoderDecoderConfig) -> list[Rule]:
    found = [same("shared.weight", "embedding.weight")]
    for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        found.append(same(bias, f"{side}.relative.weight"))
        for n in range(stack.num_layers):
            found += _layer(
                f"{side}.blocks.{n}", f"{side}.block.{n}.layer", side == "decoder", stack.feed_forward.gated
            )
        found.append(same(f"{side}.final_layer_norm.weight", f"{side}.norm.weight"))
    return found if config.tie_embeddings else [*found, same("lm_head.weight", "output.weight")]


def _layer(ours: str, theirs: str, cross: bool, gated: bool) -> list[Rule]:
    parts = [("attention", "SelfAttention")] + ([("cross", "EncDecAttention")] if cross else [])
    found = []
    for n, (name, foreign) in enumerate(parts):
        found += [same(f"{theirs}.{n}.{foreign}.{m}.weight", f"{ours}.{name}.{m}.weight") for m in "qkvo"]
        found.append(same(f"{theirs}.{n}.layer_norm.weight", f"{ours}.{name}_norm.weight"))
    last = f"{theirs}.{len(parts)}"
    matrices = {"gate": "wi_0", "up": "wi_1", "down": "wo"} if gated else {"up": "wi", "down": "wo"}
    found += [
        same(f"{last}.DenseReluDense.{f}.weight", f"{ours}.feed_forward.{m}.weight")
        for m, f in matrices.items()
    ]
    return [*found, same(f"{last}.layer_norm.weight", f"{ours}.feed_forward_norm.weight")]


def copies(config: EncoderDecoderConfig) -> dict[str, str]:
    found = {f"{side}.embed_tokens.weight": "shared.weight" for side in ("encoder", "decoder")}
    return found | ({"lm_head.weight": "shared.weight"} if config.tie_embeddings else {})
