"""Well-known models by name, as the config.json that their owners published (sizes only). Torch-free.

Counts follow from these numbers alone (`ownlm model presets` prints them beside the size in the name), and
`ownlm model presets NAME --config` gives the file to start one's own model from. GPT-3 has no published weights: it
is GPT-2's architecture at the sizes of table 2.1 of arXiv:2005.14165 (its alternating sparse layers do not change
the counts). GPT-1 is GPT-2 with the norms after the additions; it is listed with GPT-2's wiring, 1,536 parameters
more for the last norm.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]


def _gpt2(width: int, layers: int, heads: int, vocab: int = 50257, positions: int = 1024) -> Config:
    return {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": vocab, "n_positions": positions,
            "n_embd": width, "n_layer": layers, "n_head": heads, "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}  # fmt: skip


def _llama(
    width: int, inner: int, layers: int, heads: int, kv: int, vocab: int = 32000, positions: int = 4096,
    theta: float = 10000.0, **more: Any,
) -> Config:  # fmt: skip
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocab, "hidden_size": width,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "max_position_embeddings": positions, "rope_theta": theta,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, **more}  # fmt: skip


def _llama31(width: int, inner: int, layers: int, heads: int, kv: int, **more: Any) -> Config:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}  # fmt: skip
    return _llama(width, inner, layers, heads, kv, 128256, 131072, 500000.0, rope_scaling=scaling | more.pop("scaling", {}), **more)  # fmt: skip


def _neox(width: int, layers: int, heads: int, vocab: int = 50304) -> Config:
    return {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": vocab, "hidden_size": width,
            "intermediate_size": 4 * width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "max_position_embeddings": 2048, "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5,
            "hidden_act": "gelu", "use_parallel_residual": True, "tie_word_embeddings": False}  # fmt: skip


def _bert(kind: str, width: int, layers: int, heads: int, vocab: int, positions: int, **more: Any) -> Config:
    return {"model_type": kind, "architectures": [{"bert": "BertForMaskedLM", "roberta": "RobertaForMaskedLM"}[kind]],
            "vocab_size": vocab, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "max_position_embeddings": positions, "hidden_act": "gelu",
            "layer_norm_eps": 1e-12, "tie_word_embeddings": True, **more}  # fmt: skip


def _t5(width: int, inner: int, layers: int, heads: int, head: int = 64) -> Config:
    return {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "vocab_size": 32128, "d_model": width,
            "d_ff": inner, "d_kv": head, "num_layers": layers, "num_decoder_layers": layers, "num_heads": heads,
            "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
            "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-6, "tie_word_embeddings": True}  # fmt: skip


def _mistral(kind: str, **more: Any) -> Config:
    name = {"mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM"}[kind]
    return {"model_type": kind, "architectures": [name], "vocab_size": 32000, "hidden_size": 4096,
            "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "max_position_embeddings": 32768, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "hidden_act": "silu",
            "sliding_window": None, "tie_word_embeddings": False, **more}  # fmt: skip


def _qwen(
    kind: str, width: int, inner: int, layers: int, heads: int, kv: int, tied: bool, **more: Any
) -> Config:
    name = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[kind]
    return {"model_type": kind, "architectures": [name], "vocab_size": 151936, "hidden_size": width,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "max_position_embeddings": 32768, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6,
            "hidden_act": "silu", "tie_word_embeddings": tied, **more}  # fmt: skip


def _mamba(width: int, layers: int) -> Config:
    return {"model_type": "mamba", "architectures": ["MambaForCausalLM"], "vocab_size": 50280, "hidden_size": width,
            "num_hidden_layers": layers, "state_size": 16, "expand": 2, "conv_kernel": 4,
            "intermediate_size": 2 * width, "time_step_rank": -(-width // 16), "tie_word_embeddings": True,
            "use_bias": False, "use_conv_bias": True, "hidden_act": "silu", "layer_norm_epsilon": 1e-5}  # fmt: skip


def _gemma2(width: int, inner: int, layers: int, heads: int, kv: int, head: int, scalar: int) -> Config:
    return {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "vocab_size": 256000, "hidden_size": width,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "head_dim": head, "query_pre_attn_scalar": scalar, "sliding_window": 4096,
            "max_position_embeddings": 8192, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
            "hidden_activation": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "tie_word_embeddings": True}  # fmt: skip


_DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "vocab_size": 129280, "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "routed_scaling_factor": 2.5, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "n_group": 8, "topk_group": 4, "first_k_dense_replace": 3,
    "norm_topk_prob": True, "max_position_embeddings": 163840, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "tie_word_embeddings": False,
    "rope_scaling": {"type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 32.0,
                     "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
}  # fmt: skip

PUBLISHED: dict[str, Config] = {
    "gpt-1": _gpt2(768, 12, 12, 40478, 512),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "gpt3-125m": _gpt2(768, 12, 12, positions=2048),
    "gpt3-350m": _gpt2(1024, 24, 16, positions=2048),
    "gpt3-760m": _gpt2(1536, 24, 16, positions=2048),
    "gpt3-1.3b": _gpt2(2048, 24, 16, positions=2048),
    "gpt3-2.7b": _gpt2(2560, 32, 32, positions=2048),
    "gpt3-6.7b": _gpt2(4096, 32, 32, positions=2048),
    "gpt3-13b": _gpt2(5120, 40, 40, positions=2048),
    "gpt3-175b": _gpt2(12288, 96, 96, positions=2048),
    "pythia-70m": _neox(512, 6, 8),
    "pythia-160m": _neox(768, 12, 12),
    "pythia-410m": _neox(1024, 24, 16),
    "pythia-1.4b": _neox(2048, 24, 16),
    "pythia-6.9b": _neox(4096, 32, 32, 50432),
    "llama-7b": _llama(4096, 11008, 32, 32, 32, positions=2048),
    "llama-2-7b": _llama(4096, 11008, 32, 32, 32),
    "llama-2-13b": _llama(5120, 13824, 40, 40, 40),
    "llama-2-70b": _llama(8192, 28672, 80, 64, 8),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 4, positions=2048),
    "llama-3-8b": _llama(4096, 14336, 32, 32, 8, 128256, 8192, 500000.0),
    "llama-3.1-8b": _llama31(4096, 14336, 32, 32, 8),
    "llama-3.1-70b": _llama31(8192, 28672, 80, 64, 8),
    "llama-3.1-405b": _llama31(16384, 53248, 126, 128, 8),
    "llama-3.2-1b": _llama31(2048, 8192, 16, 32, 8, head_dim=64, tie_word_embeddings=True, scaling={"factor": 32.0}),
    "llama-3.2-3b": _llama31(3072, 8192, 28, 24, 8, head_dim=128, tie_word_embeddings=True, scaling={"factor": 32.0}),
    "mistral-7b": _mistral("mistral", sliding_window=4096),
    "mixtral-8x7b": _mistral("mixtral", num_local_experts=8, num_experts_per_tok=2, rope_theta=1000000.0),
    "mixtral-8x22b": _mistral("mixtral", hidden_size=6144, intermediate_size=16384, num_hidden_layers=56,
                              num_attention_heads=48, num_local_experts=8, num_experts_per_tok=2,
                              rope_theta=1000000.0, max_position_embeddings=65536),
    "qwen2-0.5b": _qwen("qwen2", 896, 4864, 24, 14, 2, True),
    "qwen2-7b": _qwen("qwen2", 3584, 18944, 28, 28, 4, False) | {"vocab_size": 152064},
    "qwen3-0.6b": _qwen("qwen3", 1024, 3072, 28, 16, 8, True, head_dim=128),
    "qwen3-8b": _qwen("qwen3", 4096, 12288, 36, 32, 8, False, head_dim=128),
    "gemma-2-2b": _gemma2(2304, 9216, 26, 8, 4, 256, 256),
    "gemma-2-9b": _gemma2(3584, 14336, 42, 16, 8, 256, 256),
    "deepseek-v3": _DEEPSEEK_V3,
    "mamba-130m": _mamba(768, 24),
    "mamba-2.8b": _mamba(2560, 64),
    "bert-base": _bert("bert", 768, 12, 12, 30522, 512, type_vocab_size=2),
    "bert-large": _bert("bert", 1024, 24, 16, 30522, 512, type_vocab_size=2),
    "roberta-base": _bert("roberta", 768, 12, 12, 50265, 514, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    "t5-11b": _t5(1024, 65536, 24, 128, 128),
}  # fmt: skip
"""Name -> config.json."""

SIZES = {
    "gpt-1": 117e6, "gpt2": 124e6, "gpt2-medium": 355e6, "gpt2-large": 774e6, "gpt2-xl": 1558e6, "gpt3-125m": 125e6,
    "gpt3-350m": 356e6, "gpt3-760m": 760e6, "gpt3-1.3b": 1.32e9, "gpt3-2.7b": 2.65e9, "gpt3-6.7b": 6.66e9,
    "gpt3-13b": 12.85e9, "gpt3-175b": 174.6e9, "pythia-70m": 70.4e6, "pythia-160m": 162.3e6, "pythia-410m": 405.3e6,
    "pythia-1.4b": 1.415e9, "pythia-6.9b": 6.857e9, "llama-7b": 6.74e9, "llama-2-7b": 6.74e9, "llama-2-13b": 13.02e9,
    "llama-2-70b": 68.98e9, "tinyllama-1.1b": 1.1e9, "llama-3-8b": 8.03e9, "llama-3.1-8b": 8.03e9,
    "llama-3.1-70b": 70.55e9, "llama-3.1-405b": 405.85e9, "llama-3.2-1b": 1.236e9, "llama-3.2-3b": 3.21e9,
    "mistral-7b": 7.24e9, "mixtral-8x7b": 46.7e9, "mixtral-8x22b": 140.6e9, "qwen2-0.5b": 494e6, "qwen2-7b": 7.62e9,
    "qwen3-0.6b": 596e6, "qwen3-8b": 8.19e9, "gemma-2-2b": 2.61e9, "gemma-2-9b": 9.24e9, "deepseek-v3": 671e9,
    "mamba-130m": 129e6, "mamba-2.8b": 2.77e9, "bert-base": 110e6, "bert-large": 335e6, "roberta-base": 124.7e6,
    "t5-small": 60.5e6, "t5-base": 222.9e6, "t5-large": 737.7e6, "t5-11b": 11.31e9,
}  # fmt: skip
"""Name -> parameters as published, for comparison; our counts are within 2.5 % of each."""
