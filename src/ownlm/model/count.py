"""What a model costs, from its configuration alone. Torch-free; held equal to the real module by a test.

Letters: V vocabulary, D hidden, F feed-forward, L layers, H query heads, K key/value heads, C head width,
T context.
"""

from __future__ import annotations

from ownlm.model.config import ModelConfig


def matrix_parameters(config: ModelConfig) -> int:
    """Weights that take part in a matrix product for every token:

    L * (2 * D*H*C [q, o] + 2 * D*K*C [k, v] + 3 * D*F [gate, up, down]) + D*V [output layer].
    The embedding lookup is no product; a tied matrix counts once, as the output layer.
    """
    c = config
    attention = 2 * c.hidden_size * (c.num_heads + c.num_kv_heads) * c.head_dim
    feed_forward = 3 * c.hidden_size * c.intermediate_size
    return c.num_layers * (attention + feed_forward) + c.hidden_size * c.vocab_size


def num_parameters(config: ModelConfig) -> int:
    """All trained numbers: the matrices, the norms (2 per layer and a last one), an untied embedding."""
    norms = (2 * config.num_layers + 1) * config.hidden_size
    embedding = 0 if config.tie_embeddings else config.vocab_size * config.hidden_size
    return matrix_parameters(config) + norms + embedding


def flops_per_token(config: ModelConfig, context: int, *, training: bool = True) -> int:
    """Floating-point operations per token at sequence length `context`.

    Forward: 2 * N + 4 * L*H*C*T, with N = matrix_parameters (a multiply and an add per weight) and the two
    products of attention, q k^T and p v, counted over the full square of T x T although half of it is masked.
    Training: three times that (backward is two forwards), so 6 * N + 12 * L*H*C*T: the convention of PaLM
    (arXiv:2204.02311, appendix B), which makes MFU comparable with what others publish.
    """
    attention = 4 * config.num_layers * config.num_heads * config.head_dim * context
    forward = 2 * matrix_parameters(config) + attention
    return 3 * forward if training else forward


def cache_bytes_per_token(config: ModelConfig, dtype_bytes: int = 4) -> int:
    """Bytes of keys and values kept per token of context: 2 * L*K*C * dtype_bytes."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype_bytes
