"""Random transformers models of every family: a seed gives a configuration that nobody chose by hand.

Each function draws the options that its family has; sizes are odd on purpose, and scalings begin inside the text.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import transformers as tf

V, MAX = 97, 64


def rope(r: random.Random, head_dim: int) -> dict[str, Any]:
    """Any of the six kinds of rotation."""
    half, theta = head_dim // 2, r.choice([1000.0, 10000.0, 5e5])
    kind = r.choice(["default", "default", "linear", "dynamic", "yarn", "llama3", "longrope"])
    more: dict[str, Any] = {
        "default": {},
        "linear": {"factor": r.choice([2.0, 3.5])},
        "dynamic": {"factor": r.choice([2.0, 3.5])},
        "yarn": {"factor": 4.0, "original_max_position_embeddings": MAX // 4},
        "llama3": {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": MAX // 4},
        "longrope": {"short_factor": [1.0 + 0.1 * i for i in range(half)], "long_factor": [1.5 + 0.3 * i for i in range(half)],
                     "original_max_position_embeddings": MAX // 2},
    }[kind]  # fmt: skip
    return {"rope_type": kind, "rope_theta": theta, **more}


def sizes(r: random.Random, *, square: bool = False) -> tuple[dict[str, Any], int]:
    """(the keys that Llama's kin share, the head's width); square: heads * head_dim is the width, and goes unsaid."""
    heads, head_dim = r.choice([1, 2, 3, 4, 6]), r.choice([4, 8, 10, 16])
    found = {
        "vocab_size": V, "hidden_size": heads * head_dim if square else heads * r.choice([8, 10, 12]),
        "intermediate_size": r.choice([20, 40, 56]), "num_hidden_layers": r.choice([1, 2, 3, 5]), "num_attention_heads": heads,
        "num_key_value_heads": r.choice([k for k in range(1, heads + 1) if heads % k == 0]), "max_position_embeddings": MAX,
        "tie_word_embeddings": r.random() < 0.5,
    }  # fmt: skip
    return found if square else found | {"head_dim": head_dim}, head_dim


def for_experts(r: random.Random) -> tuple[dict[str, Any], int]:
    """As `sizes`; transformers' grouped product of experts wants rows of whole 16 bytes."""
    c, head_dim = sizes(r)
    return c | {"hidden_size": 4 * (c["hidden_size"] // 4 + 1)}, head_dim


def maybe(r: random.Random) -> bool:
    return r.random() < 0.5


def llama(r: random.Random) -> Any:
    c, C = sizes(r)
    return tf.LlamaForCausalLM(tf.LlamaConfig(**c, rope_parameters=rope(r, C), attention_bias=maybe(r), mlp_bias=maybe(r),
                                              hidden_act=r.choice(["silu", "gelu", "relu"]), rms_norm_eps=r.choice([1e-6, 1e-4])))  # fmt: skip


def mistral(r: random.Random) -> Any:
    c, C = sizes(r)
    return tf.MistralForCausalLM(tf.MistralConfig(**c, rope_parameters=rope(r, C), sliding_window=r.choice([None, 2, 3, 7, 200])))  # fmt: skip


def qwen2(r: random.Random) -> Any:
    c, C = sizes(r, square=True)
    return tf.Qwen2ForCausalLM(tf.Qwen2Config(**c, rope_parameters=rope(r, C), use_sliding_window=maybe(r),
                                              sliding_window=r.choice([3, 5]), max_window_layers=r.randint(0, c["num_hidden_layers"])))  # fmt: skip


def qwen3(r: random.Random) -> Any:
    c, C = sizes(r)
    return tf.Qwen3ForCausalLM(tf.Qwen3Config(**c, rope_parameters=rope(r, C), attention_bias=maybe(r), use_sliding_window=maybe(r),
                                              sliding_window=r.choice([3, 5]), max_window_layers=r.randint(0, c["num_hidden_layers"])))  # fmt: skip


def gemma2(r: random.Random) -> Any:
    c, _ = sizes(r)
    return tf.Gemma2ForCausalLM(tf.Gemma2Config(**c, sliding_window=r.choice([2, 6]), query_pre_attn_scalar=r.choice([8, 24]),
                                                attn_logit_softcapping=r.choice([None, 5.0]), final_logit_softcapping=r.choice([None, 3.0]),
                                                attn_implementation="eager"))  # fmt: skip


def gemma3(r: random.Random) -> Any:
    c, _ = sizes(r)
    return tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**c, sliding_window=r.choice([3, 6]), query_pre_attn_scalar=r.choice([8, 24]),
                                                    attn_implementation="eager"))  # fmt: skip


def olmo2(r: random.Random) -> Any:
    c, C = sizes(r, square=True)
    return tf.Olmo2ForCausalLM(
        tf.Olmo2Config(**c, rope_parameters=rope(r, C), attention_bias=maybe(r), pad_token_id=0)
    )


def phi3(r: random.Random) -> Any:
    c, C = sizes(r, square=True)
    kinds = [
        k for k in (rope(random.Random(n), C) for n in range(40)) if k["rope_type"] in ("default", "longrope")
    ]
    return tf.Phi3ForCausalLM(tf.Phi3Config(**c, rope_parameters=r.choice(kinds), original_max_position_embeddings=MAX // 2,
                                            sliding_window=r.choice([None, 4]), pad_token_id=0))  # fmt: skip


def gpt2(r: random.Random) -> Any:
    heads = r.choice([1, 2, 3])
    return tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=V, n_positions=MAX, n_embd=heads * 8, n_layer=r.choice([1, 3]), n_head=heads,
                                            n_inner=r.choice([None, 20]), activation_function=r.choice(["gelu_new", "gelu", "relu"]),
                                            tie_word_embeddings=maybe(r)))  # fmt: skip


def gpt_neox(r: random.Random) -> Any:
    heads, C = r.choice([1, 2, 4]), r.choice([8, 16])
    turns = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": r.choice([0.25, 0.5, 1.0]),
    }
    return tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(vocab_size=V, hidden_size=heads * C, num_hidden_layers=2, num_attention_heads=heads,
                                                  intermediate_size=40, max_position_embeddings=MAX, rope_parameters=turns,
                                                  use_parallel_residual=maybe(r), attention_bias=maybe(r), tie_word_embeddings=maybe(r)))  # fmt: skip


def mixtral(r: random.Random) -> Any:
    c, C = for_experts(r)
    return tf.MixtralForCausalLM(tf.MixtralConfig(**c, rope_parameters=rope(r, C), sliding_window=r.choice([None, 5]),
                                                  num_local_experts=r.choice([2, 4, 5]), num_experts_per_tok=r.choice([1, 2])))  # fmt: skip


def qwen3_moe(r: random.Random) -> Any:
    c, C = for_experts(r)
    return tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(**c, rope_parameters=rope(r, C), moe_intermediate_size=12, num_experts=r.choice([4, 6]),
                                                    num_experts_per_tok=r.choice([1, 2, 3]), norm_topk_prob=maybe(r), attention_bias=maybe(r),
                                                    decoder_sparse_step=r.choice([1, 2]) if c["num_hidden_layers"] > 1 else 1))  # fmt: skip


def _deepseek(r: random.Random) -> dict[str, Any]:
    layers, heads = r.choice([1, 2, 3]), r.choice([1, 2, 4])
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": MAX // 4,
            "mscale": 0.7, "mscale_all_dim": 0.7, "beta_fast": 32, "beta_slow": 1}  # fmt: skip
    return {
        "vocab_size": V, "hidden_size": r.choice([24, 40]), "intermediate_size": 30, "moe_intermediate_size": 12,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads, "n_routed_experts": 8,
        "num_experts_per_tok": r.choice([2, 3]), "kv_lora_rank": r.choice([8, 14]), "q_lora_rank": r.choice([None, 10]),
        "qk_rope_head_dim": r.choice([4, 8]), "qk_nope_head_dim": r.choice([6, 8]), "v_head_dim": r.choice([5, 8]),
        "first_k_dense_replace": r.randint(0, layers - 1), "n_group": r.choice([2, 4]), "topk_group": 2,
        "routed_scaling_factor": r.choice([1.0, 2.5]), "max_position_embeddings": MAX,
        "rope_parameters": r.choice([{"rope_type": "default", "rope_theta": 10000.0}, yarn]),
    }  # fmt: skip


def deepseek_v2(r: random.Random) -> Any:
    method = r.choice(["greedy", "group_limited_greedy"])
    return tf.DeepseekV2ForCausalLM(
        tf.DeepseekV2Config(**_deepseek(r), n_shared_experts=r.choice([1, 2]), topk_method=method)
    )


def deepseek_v3(r: random.Random) -> Any:
    return tf.DeepseekV3ForCausalLM(
        tf.DeepseekV3Config(**_deepseek(r), n_shared_experts=1, norm_topk_prob=maybe(r))
    )


def mamba(r: random.Random) -> Any:
    return tf.MambaForCausalLM(tf.MambaConfig(vocab_size=V, hidden_size=r.choice([20, 32]), state_size=r.choice([3, 8]), num_hidden_layers=2,
                                              expand=r.choice([1, 2, 3]), conv_kernel=r.choice([2, 4]), use_bias=maybe(r), use_conv_bias=maybe(r),
                                              tie_word_embeddings=maybe(r), time_step_rank=r.choice(["auto", 3])))  # fmt: skip


def mamba2(r: random.Random) -> Any:
    heads, width = r.choice([2, 4]), r.choice([4, 8])
    return tf.Mamba2ForCausalLM(tf.Mamba2Config(vocab_size=V, hidden_size=heads * width // 2, num_heads=heads, head_dim=width, expand=2,
                                                state_size=r.choice([4, 9]), num_hidden_layers=2, n_groups=r.choice([1, 2]),
                                                conv_kernel=r.choice([2, 4]), use_bias=maybe(r), use_conv_bias=maybe(r),
                                                chunk_size=r.choice([4, 16]), tie_word_embeddings=maybe(r)))  # fmt: skip


def _bert(r: random.Random) -> dict[str, Any]:
    heads = r.choice([1, 3])
    return {"vocab_size": V, "hidden_size": heads * 8, "num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": 24,
            "max_position_embeddings": MAX + 8, "hidden_act": r.choice(["gelu", "relu", "gelu_new"])}  # fmt: skip


def bert(r: random.Random) -> Any:
    return tf.BertForMaskedLM(tf.BertConfig(**_bert(r)))


def roberta(r: random.Random) -> Any:
    return tf.RobertaForMaskedLM(tf.RobertaConfig(**_bert(r), pad_token_id=r.choice([0, 1, 5])))


def albert(r: random.Random) -> Any:
    return tf.AlbertForMaskedLM(
        tf.AlbertConfig(**_bert(r), embedding_size=r.choice([8, 12]), num_hidden_groups=r.choice([1, 2]))
    )


def electra(r: random.Random) -> Any:
    c = _bert(r)
    return tf.ElectraForMaskedLM(tf.ElectraConfig(**c, embedding_size=r.choice([6, c["hidden_size"]])))


def t5(r: random.Random) -> Any:
    return tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=V, d_model=24, d_kv=r.choice([4, 8]), d_ff=30, num_layers=r.choice([1, 2]),
                                                     num_decoder_layers=r.choice([1, 3]), num_heads=r.choice([2, 3]),
                                                     feed_forward_proj=r.choice(["relu", "gated-gelu", "gated-silu"]), tie_word_embeddings=maybe(r),
                                                     relative_attention_num_buckets=r.choice([8, 32]),
                                                     relative_attention_max_distance=r.choice([20, 128])))  # fmt: skip


def bart(r: random.Random) -> Any:
    heads = r.choice([1, 2])
    return tf.BartForConditionalGeneration(tf.BartConfig(vocab_size=V, d_model=heads * 8, encoder_layers=2, decoder_layers=r.choice([1, 2]),
                                                         encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=20,
                                                         decoder_ffn_dim=20, max_position_embeddings=MAX, scale_embedding=maybe(r),
                                                         activation_function=r.choice(["gelu", "relu"])))  # fmt: skip


FAMILIES: dict[str, Callable[[random.Random], Any]] = {
    f.__name__: f
    for f in (llama, mistral, qwen2, qwen3, gemma2, gemma3, olmo2, phi3, gpt2, gpt_neox, mixtral, qwen3_moe, deepseek_v2, deepseek_v3,
              mamba, mamba2, bert, roberta, albert, electra, t5, bart)
}  # fmt: skip
