"""How much memory and disk a build takes: sums of what is known to be big, rounded up nowhere."""

from __future__ import annotations

from ownlm.model import count
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


STEP_PROCESS = 250_000_000  # bytes: Python, torch and the batches, before the first step, without compiling
STEP_PEAK = 3 * 4 * 2048**2  # the products that the machine's peak is measured with; what follows reuses them
STEP_STATE = 24  # per parameter: weight, gradient, optimizer, and what its update holds meanwhile
STEP_WIDTHS, STEP_FFN, STEP_SQUARES = (
    20,
    5,
    4.5,
)  # values kept per token and layer: times D, F, and heads * context
MICRO_TOKENS = 2048  # TrainConfig.micro_tokens: no more go through at a time


def step_bytes(
    config: ModelConfig, batch_tokens: int, context: int, micro_tokens: int = MICRO_TOKENS
) -> float:
    """Peak resident bytes of an eager float32 training on processors: what a machine must have free. Fitted to five
    runs of 0.07 to 0.9 M parameters (bench/plan.py); `training_bytes` is the plan's bound with compilation."""
    c = config
    kept = STEP_WIDTHS * c.hidden_size + STEP_FFN * c.intermediate_size + STEP_SQUARES * c.num_heads * context
    logits = 3 * 512 * c.vocab_size  # a piece at a time (train/objectives/cross_entropy.py)
    activations = 4 * (min(batch_tokens, micro_tokens) * c.num_layers * kept + logits)
    return STEP_PROCESS + max(STEP_PEAK, STEP_STATE * count.num_parameters(c) + activations)


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
