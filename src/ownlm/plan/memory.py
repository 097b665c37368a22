"""How much memory and disk a build takes: sums of what is known to be big, rounded up nowhere."""

from __future__ import annotations

from ownlm.model.config import ModelConfig
from ownlm.plan.quantity import Quantity

PROCESS = 700_000_000  # bytes: Python, torch and the compiler's workers
STATE_BYTES = 18  # per parameter: float32 weight, gradient and two moments, and a bfloat16 copy
LAYER_WIDTHS = 14  # values of width D kept per token and layer for the backward pass
LAYER_FFN = 4  # values of the feed-forward width kept
LOGIT_COPIES = 3  # logits, their softmax, their gradient
NGRAM_BYTES = 200  # per training token, while the Kneser-Ney baseline is fitted
NGRAM_TOKENS = 10_000_000  # it reads no more than these
TEXT_COPIES = 4  # of the corpus, in the stages that hold it
CHECKPOINTS = 3  # kept at a time
CHECKPOINT_BYTES = 12  # per parameter


def training_bytes(parameters: int, config: ModelConfig, batch_tokens: int, context: int) -> int:
    """Weights with optimizer state, activations, attention squares and logits of one optimizer step."""
    c = config
    width = LAYER_WIDTHS * c.hidden_size + LAYER_FFN * c.intermediate_size + 2 * c.num_heads * context
    activations = 4 * batch_tokens * (c.num_layers * width + LOGIT_COPIES * c.vocab_size)
    return PROCESS + STATE_BYTES * parameters + activations


def quantities(
    parameters: int, config: ModelConfig, corpus_bytes: int, unique_tokens: int,
    pretrain: tuple[int, int], sft: tuple[int, int],
) -> list[Quantity]:  # fmt: skip
    """Memory per stage and disk, in bytes. `pretrain` and `sft` are (batch_tokens, context)."""
    formula = "700 MB + 18 bytes * parameters + 4 bytes * batch_tokens * (num_layers * (14 D + 4 F + 2 H context) + 3 V)"
    disk = "2 * unique_tokens + 6 * corpus_bytes + 44 * parameters"  # shards; texts and indexes; checkpoints and models
    text = f"{PROCESS} + {TEXT_COPIES} * corpus_bytes"
    return [
        Quantity("memory_pretrained", training_bytes(parameters, config, *pretrain), "bytes", formula, "derived"),
        Quantity("memory_model", training_bytes(parameters, config, *sft), "bytes", formula, "derived"),
        Quantity("memory_corpus", PROCESS + TEXT_COPIES * corpus_bytes, "bytes", text, "measured"),
        Quantity("memory_eval", PROCESS + NGRAM_BYTES * min(unique_tokens, NGRAM_TOKENS), "bytes",
                 f"{PROCESS} + {NGRAM_BYTES} * min(unique_tokens, {NGRAM_TOKENS})", "measured"),
        Quantity("disk", 2 * unique_tokens + 6 * corpus_bytes + (CHECKPOINTS * CHECKPOINT_BYTES + 8) * parameters,
                 "bytes", disk, "derived"),
    ]  # fmt: skip
