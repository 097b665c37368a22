"""BERT: `BertForMaskedLM`, `BertForPreTraining`, `BertModel` and `BertForSequenceClassification`, told apart by
`architectures`. The layer names are also those of RoBERTa and ELECTRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.adapters import activations
from ownlm.model.adapters.config_keys import Reader
from ownlm.model.adapters.rules import Rule, same
from ownlm.model.attention.cross import Heads
from ownlm.model.encoder import Encoder, EncoderConfig, bert
from ownlm.model.encoder_heads import ClassHead, EncoderHeads

MODEL_TYPES = ("bert",)
ARCHITECTURES = ("BertForMaskedLM", "BertForPreTraining", "BertModel", "BertForSequenceClassification")
IGNORED = (
    r"bert\.embeddings\.position_ids",
    r"embeddings\.position_ids",
    r"bert\.pooler\..*",
    r"cls\.seq_relationship\..*",
)
"""Where they are no weight of the model: Google's checkpoints name BertForMaskedLM and bring the pooler along."""

RENAMED = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))
"""Names of the TensorFlow checkpoints that early conversions kept."""

HARMLESS = (
    "attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout", "gradient_checkpointing",
    "tokenizer_class", "label2id", "id2label", "problem_type", "num_labels", "output_past", "cls_token_id",
    "sep_token_id", "mask_token_id", "unk_token_id", "model_max_length", "use_cache",
)  # fmt: skip
"""Dropout and special ids do not change the logits of a given text."""

LAYER = {
    "attention.q": "attention.self.query",
    "attention.k": "attention.self.key",
    "attention.v": "attention.self.value",
    "attention.o": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
"""Inside a layer: our name -> theirs."""


def read(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The config of a BERT folder. Raises ArtifactError."""
    keys = Reader(raw, where)
    keys.require("model_type", MODEL_TYPES)
    kind = architecture(keys, ARCHITECTURES, "BertModel", where)
    num_classes = None
    if kind == "BertForPreTraining":
        num_classes = 2
    if kind == "BertForSequenceClassification":
        num_classes = num_labels(raw)
    options = common(keys, where)
    masked = options["activation"] if kind in ("BertForMaskedLM", "BertForPreTraining") else None
    heads = EncoderHeads(
        masked=masked,
        pooler=None if kind == "BertForMaskedLM" else "tanh",
        classes=None if num_classes is None else ClassHead(num_classes),
        norm_eps=options["norm_eps"],
    )
    keys.done()
    return built(where, **options, heads=heads, family="bert")


def architecture(keys: Any, known: tuple[str, ...], default: str, where: str) -> str:
    """The one name in `architectures`; `default` where there is none."""
    found = keys.take("architectures", None)
    names = found or [default]
    if not isinstance(names, list) or len(names) != 1 or names[0] not in known:
        raise ArtifactError("This model has heads that ownlm does not know.", f"{where}: architectures = {found!r}",
                            f"supported: {', '.join(known)}")  # fmt: skip
    return str(names[0])


def num_labels(raw: Mapping[str, Any]) -> int:
    """Classes of a classifier: as many as id2label names, else num_labels, else 2."""
    names = raw.get("id2label")
    return len(names) if isinstance(names, dict) and names else int(raw.get("num_labels", 2))


def one_id(raw: Mapping[str, Any], key: str, default: int, where: str) -> int | None:
    """A special id; null stays None. Raises ArtifactError for several: our generation knows one."""
    found = raw.get(key, default)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise ArtifactError(
            "A special id is no single number.", f"{where}: {key} = {found!r}", "keep one of them"
        )
    return found


def common(keys: Any, where: str) -> dict[str, Any]:
    """The arguments of `bert` that all of its kin spell alike."""
    keys.require("is_decoder", (False,))
    keys.require("add_cross_attention", (False,))
    keys.require("position_embedding_type", ("absolute", None))
    keys.require("tie_word_embeddings", (True,))
    keys.require("quantization_config", (None,))
    keys.require("pruned_heads", ({}, None))
    keys.require("chunk_size_feed_forward", (0,))
    keys.harmless(HARMLESS)
    return {
        "vocab_size": keys.take("vocab_size", 30522),
        "hidden_size": keys.take("hidden_size", 768),
        "num_layers": keys.take("num_hidden_layers", 12),
        "num_heads": keys.take("num_attention_heads", 12),
        "intermediate_size": keys.take("intermediate_size", 3072),
        "max_positions": keys.take("max_position_embeddings", 512),
        "num_types": keys.take("type_vocab_size", 2),
        "norm_eps": keys.take("layer_norm_eps", 1e-12),
        "activation": activations.ours(keys.take("hidden_act", "gelu"), where),
        "initializer_range": keys.take("initializer_range", 0.02),
    }


def built(where: str, **options: Any) -> EncoderConfig:
    """`bert` with a folder's numbers; what it refuses is the folder's fault."""
    try:
        return bert(**options)
    except (UsageError, TypeError) as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error}", "restore the file") from error  # fmt: skip


def write(config: EncoderConfig) -> dict[str, Any]:
    kind = "BertForMaskedLM"
    if config.heads.classes is not None:
        kind = "BertForSequenceClassification" if config.heads.masked is None else "BertForPreTraining"
    elif config.heads.masked is None:
        kind = "BertModel"
    found = {"architectures": [kind], "model_type": "bert", **common_keys(config)}
    if kind == "BertForSequenceClassification" and config.heads.classes is not None:
        found["id2label"] = {str(n): f"LABEL_{n}" for n in range(config.heads.classes.num_classes)}
        found["label2id"] = {f"LABEL_{n}": n for n in range(config.heads.classes.num_classes)}
    return found


def common_keys(config: EncoderConfig) -> dict[str, Any]:
    """The keys that all kin of BERT share."""
    stack, embedding = config.stack, config.embedding
    if not isinstance(stack.attention, Heads) or embedding.positions is None:
        raise UsageError("This encoder is no BERT.", f"family {config.family!r}", "save it as its own family")
    return {
        "vocab_size": embedding.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": stack.num_layers,
        "num_attention_heads": stack.attention.num_heads,
        "intermediate_size": stack.feed_forward.width,
        "hidden_act": activations.THEIRS[stack.feed_forward.activation],
        "max_position_embeddings": embedding.positions.max_positions + embedding.positions.offset,
        "type_vocab_size": embedding.num_types,
        "layer_norm_eps": stack.norm.eps,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": True,
    }


def build(config: EncoderConfig) -> nn.Module:
    return Encoder(config)


def rules(config: EncoderConfig) -> list[Rule]:
    at = "" if config.heads.masked is None and config.heads.classes is None else "bert."
    found = trunk(config, at)
    if config.heads.masked is not None:
        found += pair("masked.dense", "cls.predictions.transform.dense")
        found += pair("masked.norm", "cls.predictions.transform.LayerNorm")
        found.append(same("cls.predictions.bias", "masked.bias"))
    if config.heads.pooler is not None:
        found += pair("pooler.dense", f"{at}pooler.dense")
    if config.heads.classes is not None:
        found += pair("classes", "classifier" if config.heads.masked is None else "cls.seq_relationship")
    return found


def trunk(config: EncoderConfig, at: str, layers: str = "encoder.layer") -> list[Rule]:
    """Embeddings and layers, without a projection between them; `at` is the foreign prefix."""
    found = [same(f"{at}embeddings.word_embeddings.weight", "embedding.word.weight")]
    if config.embedding.positions is not None:
        found.append(same(f"{at}embeddings.position_embeddings.weight", "embedding.positions.table.weight"))
    if config.embedding.num_types:
        found.append(same(f"{at}embeddings.token_type_embeddings.weight", "embedding.types.weight"))
    found += pair("embedding.norm", f"{at}embeddings.LayerNorm")
    for n in range(config.stack.distinct):
        for ours, theirs in LAYER.items():
            found += pair(f"stack.blocks.{n}.{ours}", f"{at}{layers}.{n}.{theirs}")
    return found


def pair(ours: str, theirs: str) -> list[Rule]:
    """Weight and bias of one module."""
    return [same(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


def copies(config: EncoderConfig) -> dict[str, str]:
    if config.heads.masked is None:
        return {}
    return {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
