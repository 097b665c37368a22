"""model_type of config.json -> the family that reads and writes it."""

from __future__ import annotations

from types import ModuleType

from ownlm.model.adapters.families import (
    albert,
    bart,
    bert,
    deberta_v2,
    deepseek_v2,
    deepseek_v3,
    electra,
    gemma2,
    gemma3,
    gpt2,
    gpt_neox,
    jamba,
    llama,
    mamba,
    mamba2,
    mistral,
    mixtral,
    olmo2,
    phi3,
    qwen2,
    qwen3,
    qwen3_moe,
    roberta,
    rwkv,
    t5,
)

FAMILIES: dict[str, ModuleType] = {
    model_type: family
    for family in (llama, gpt2, gpt_neox, mistral, qwen2, qwen3, gemma2, gemma3, olmo2, phi3, mixtral, qwen3_moe, deepseek_v2, deepseek_v3, mamba, mamba2, jamba, rwkv, bert, roberta, albert,
                   electra, deberta_v2, t5, bart)
    for model_type in family.MODEL_TYPES
}  # fmt: skip
