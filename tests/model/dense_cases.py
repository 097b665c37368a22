"""Odd configurations of every dense Hugging Face family, and transformers models of them with noise in every parameter.

python dense_cases.py FOLDER AGAIN DUMP.json    under another transformers version: its logits, and the model saved by it
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

LLAMA = {"vocab_size": 97, "hidden_size": 36, "intermediate_size": 52, "num_hidden_layers": 2, "num_attention_heads": 6,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
"""head_dim: 6."""

YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 16}
SHORT, LONG = [1.0, 1.1, 1.3, 1.7], [1.5, 2.5, 4.0, 7.0]
PHI3 = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
LONGROPE = {"rope_type": "longrope", "rope_theta": 500.0, "short_factor": SHORT, "long_factor": LONG}
GEMMA = {"head_dim": 10, "query_pre_attn_scalar": 17, "sliding_window": 7}
LAYER_TYPES = ["full_attention", "sliding_attention", "full_attention"]
NEOX = {"hidden_size": 48, "num_attention_heads": 4, "num_key_value_heads": None}

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "llama": {
        "plain-tied": {"tie_word_embeddings": True},
        "one-kv-head-biases-llama3": {
            "num_key_value_heads": 1, "head_dim": 10, "attention_bias": True, "mlp_bias": True, "hidden_act": "gelu",
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 300.0, "factor": 8.0, "low_freq_factor": 1.0,
                                "high_freq_factor": 4.0, "original_max_position_embeddings": 16}},
        "linear": {"head_dim": 8, "rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.5}},
        "dynamic": {"max_position_embeddings": 16, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
        "yarn-all-heads": {"num_key_value_heads": 6, "attention_bias": True, "rope_parameters": YARN | {"beta_fast": 4.0, "beta_slow": 0.5}},
        "yarn-mscale": {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 1.3, "truncate": False}},
        "yarn-magnitude": {"max_position_embeddings": 16, "rope_parameters": YARN | {"attention_factor": 1.4}},
        "one-head": {"num_attention_heads": 1, "num_key_value_heads": 1, "num_hidden_layers": 1},
    },
    "mistral": {
        "window": {"sliding_window": 7},
        "no-window-tied": {"sliding_window": None, "tie_word_embeddings": True, "num_key_value_heads": 1},
        "window-of-one": {"sliding_window": 1, "head_dim": 16},
        "window-longer-than-text": {"sliding_window": 60, "rope_parameters": YARN},
    },
    "qwen2": {
        "plain-tied": {"tie_word_embeddings": True},
        "windows-from-layer-one": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "num_hidden_layers": 3},
        "layer-types": {"use_sliding_window": True, "sliding_window": 9, "layer_types": LAYER_TYPES, "num_hidden_layers": 3},
        "one-kv-head-yarn": {"num_key_value_heads": 1, "max_position_embeddings": 16, "rope_parameters": YARN},
    },
    "qwen3": {
        "plain": {"head_dim": 14},
        "biases-tied": {"attention_bias": True, "tie_word_embeddings": True, "head_dim": 4, "num_key_value_heads": 1},
        "windows": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1, "head_dim": 8, "num_key_value_heads": 6},
        "yarn": {"head_dim": 8, "rope_parameters": YARN, "rms_norm_eps": 1e-3},
    },
    "gemma2": {
        "plain": GEMMA,
        "no-caps": GEMMA | {"attn_logit_softcapping": None, "final_logit_softcapping": None, "num_key_value_heads": 1},
        "small-caps-biases": GEMMA | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5, "attention_bias": True, "tie_word_embeddings": False},
        "layer-types": GEMMA | {"num_hidden_layers": 3, "layer_types": LAYER_TYPES, "num_key_value_heads": 6},
    },
    "gemma3_text": {
        "seven-layers": GEMMA | {"num_hidden_layers": 7},
        "linear-on-the-global": GEMMA | {"num_hidden_layers": 3, "layer_types": LAYER_TYPES, "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e4},
            "sliding_attention": {"rope_type": "default", "rope_theta": 700.0}}},
        "one-kv-head-biases": GEMMA | {"num_key_value_heads": 1, "attention_bias": True, "layer_types": ["full_attention", "sliding_attention"]},
        "untied-capped": GEMMA | {"tie_word_embeddings": False, "final_logit_softcapping": 3.0, "head_dim": 4, "query_pre_attn_scalar": 3},
    },
    "olmo2": {
        "plain": {},
        "one-kv-head-biases": {"num_key_value_heads": 1, "attention_bias": True},
        "all-heads-tied": {"num_key_value_heads": 6, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
        "yarn": {"rope_parameters": YARN},
    },
    "phi3": {
        "plain": PHI3 | {"original_max_position_embeddings": 64},
        "longrope": PHI3 | {"original_max_position_embeddings": 16, "rope_parameters": LONGROPE},
        "longrope-of-a-part": PHI3 | {"original_max_position_embeddings": 16, "sliding_window": 11, "tie_word_embeddings": True,
            "rope_parameters": LONGROPE | {"partial_rotary_factor": 0.75, "short_factor": SHORT[:3], "long_factor": LONG[:3]}},
        "part-one-kv-head": PHI3 | {"num_key_value_heads": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}},
    },
    "gpt2": {
        "plain": {},
        "by-layer-untied": {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False, "activation_function": "relu"},
        "unscaled": {"scale_attn_weights": False, "n_inner": 20, "n_head": 1},
        "wide": {"n_layer": 3, "n_head": 12, "activation_function": "gelu", "layer_norm_epsilon": 1e-3},
    },
    "gpt_neox": {
        "parallel": NEOX,
        "sequential-tied": NEOX | {"use_parallel_residual": False, "tie_word_embeddings": True},
        "no-biases-all-rotated": NEOX | {"attention_bias": False, "hidden_act": "gelu_new",
                                         "rope_parameters": {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 1.0}},
        "linear": NEOX | {"num_attention_heads": 2, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e3, "partial_rotary_factor": 0.5}},
    },
}  # fmt: skip

IN_457 = {"llama": "one-kv-head-biases-llama3", "mistral": "window", "qwen2": "windows-from-layer-one", "qwen3": "yarn",
          "gemma2": "small-caps-biases", "gemma3_text": "linear-on-the-global", "olmo2": "one-kv-head-biases",
          "phi3": "longrope", "gpt2": "by-layer-untied", "gpt_neox": "parallel"}  # fmt: skip


def options(kind: str, name: str) -> dict[str, Any]:
    if kind == "gpt2":
        start: dict[str, Any] = {"vocab_size": 97, "n_positions": 64, "n_embd": 36, "n_layer": 2, "n_head": 4}
        start |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    else:
        start = LLAMA
    return {k: v for k, v in (start | CASES[kind][name]).items() if v is not None or k not in start}


@torch.no_grad()
def theirs(kind: str, name: str, seed: int = 0) -> Any:
    """The transformers model; no parameter keeps its usual start (biases 0, norms 1)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **options(kind, name))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    for key, weight in model.named_parameters():
        scale = (
            0.3
            if weight.ndim == 1
            else 1.0
            if "embed" in key or "wte" in key
            else 1.3 * weight.shape[-1] ** -0.5
        )
        weight.normal_(0.0, scale, generator=generator)
        if weight.ndim == 1 and key.endswith("weight") and not kind.startswith("gemma"):
            weight.add_(1.0)
    return model


def ids_of(length: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 97, (2, length), generator=torch.Generator().manual_seed(seed))


def main(folder: str, again: str, dump: str) -> None:
    from transformers import AutoModelForCausalLM, __version__

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    model.save_pretrained(again)
    with torch.no_grad():
        Path(dump).write_text(json.dumps({"version": __version__, "logits": model(ids_of()).logits.tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
