"""ModelConfig <-> the config.json that transformers 4.57 and 5.x, vLLM and llama.cpp read. Torch-free.

transformers 5 writes `dtype` and `rope_parameters` where 4.57 reads `torch_dtype` and `rope_theta`: both are
written, and on reading both are accepted but must agree. Every key is either understood, known to be without
effect on the logits, or refused: a folder with an option that this decoder lacks never loads as something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ownlm.errors import ArtifactError, UsageError
from ownlm.model.config import ModelConfig

FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "head_dim",
    "max_position_embeddings": "max_positions",
    "rms_norm_eps": "norm_eps",
    "initializer_range": "initializer_range",
    "tie_word_embeddings": "tie_embeddings",
}
"""config.json key -> field of ModelConfig; the rotary base is apart, see `_rope_theta`."""

REQUIRED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "architectures": (["LlamaForCausalLM"],),
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "attention_dropout": (0, 0.0),
    "pretraining_tp": (1,),
    "rope_scaling": (None,),
    "rope_interleaved": (False,),
    "quantization_config": (None,),
}
"""Keys that must have one of these values where they are present; anything else is another model."""

HARMLESS = {
    "dtype", "torch_dtype", "transformers_version", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
    "_name_or_path", "is_llama_config", "return_dict", "output_hidden_states", "output_attentions",
    "chunk_size_feed_forward", "rope_theta", "rope_parameters",
}  # fmt: skip
"""Keys that do not change the logits, and the rotary ones that `_rope_theta` reads."""

LLAMA_DEFAULTS = {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "initializer_range": 0.02,
                  "tie_word_embeddings": False}  # fmt: skip
"""What transformers assumes where config.json is silent."""


def to_json(
    config: ModelConfig, *, dtype: str, eos_ids: Sequence[int], bos_id: int | None, pad_id: int | None
) -> dict[str, Any]:
    """The config.json of a Llama; dtype is the name of the stored weights' type, "float32" or "bfloat16"."""
    fields = {key: getattr(config, name) for key, name in FIELDS.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **fields,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "torch_dtype": dtype,
        "dtype": dtype,
        "bos_token_id": bos_id,
        "eos_token_id": list(eos_ids),
        "pad_token_id": pad_id,
        "use_cache": True,
    }


def generation_json(*, eos_ids: Sequence[int], bos_id: int | None, pad_id: int | None) -> dict[str, Any]:
    """generation_config.json: greedy by default, every stop id in eos_token_id."""
    return {"bos_token_id": bos_id, "eos_token_id": list(eos_ids), "pad_token_id": pad_id, "do_sample": False}


def from_json(raw: object, where: str) -> ModelConfig:
    """Read a parsed config.json; `where` is its path for messages. Raises ArtifactError."""
    if not isinstance(raw, dict):
        raise ArtifactError("config.json is not an object.", where, "this is not a model folder")
    _refuse_foreign(raw, where)
    values: dict[str, Any] = {key: raw.get(key, LLAMA_DEFAULTS.get(key)) for key in FIELDS}
    heads, hidden = values["num_attention_heads"], values["hidden_size"]
    if values["num_key_value_heads"] is None:
        values["num_key_value_heads"] = heads
    if values["head_dim"] is None and isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        values["head_dim"] = hidden // heads
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise ArtifactError(
            "config.json lacks keys.", f"{where}: {', '.join(missing)}", "this is not a Llama model folder"
        )
    try:
        fields = {FIELDS[key]: value for key, value in values.items()}
        return ModelConfig(**fields, rope_theta=_rope_theta(raw, where))
    except UsageError as error:
        raise ArtifactError("config.json describes no possible model.", f"{where}: {error.values}",
                            "restore the file (`ownlm verify` says whether it was changed)") from error  # fmt: skip


def _refuse_foreign(raw: Mapping[str, Any], where: str) -> None:
    if "model_type" not in raw and "architectures" not in raw:
        raise ArtifactError("config.json names no architecture.", where, "this is not a model folder")
    wrong = [f"{key} = {raw[key]!r}" for key, fine in REQUIRED.items() if key in raw and raw[key] not in fine]
    unknown = sorted(set(raw) - set(FIELDS) - set(REQUIRED) - HARMLESS)
    if wrong or unknown:
        unread = [f"{key} (not understood)" for key in unknown]
        raise ArtifactError(
            "This model has an architecture or an option that ownlm does not support.",
            f"{where}: {', '.join(wrong + unread)}",
            "ownlm reads LlamaForCausalLM with plain rotary embeddings, no biases and no quantization",
        )


def _rope_theta(raw: Mapping[str, Any], where: str) -> float:
    """The rotary base from either spelling; refuses scaled or partial rotation, and two different bases."""
    parameters = raw.get("rope_parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise ArtifactError(
            "rope_parameters is not an object.", f"{where}: {parameters!r}", "restore the file"
        )
    extra = {k: v for k, v in parameters.items() if (k, v) != ("rope_type", "default") and k != "rope_theta"}
    if extra:
        raise ArtifactError(
            "This model scales or splits its rotary embeddings, which ownlm does not support.",
            f"{where}: rope_parameters {extra}",
            'use a model with rope_type "default"',
        )
    found = {
        float(v) for v in (raw.get("rope_theta"), parameters.get("rope_theta")) if isinstance(v, int | float)
    }
    if len(found) > 1:
        raise ArtifactError(
            "config.json gives two different rotary bases.", f"{where}: {sorted(found)}", "restore the file"
        )
    return found.pop() if found else 10000.0
