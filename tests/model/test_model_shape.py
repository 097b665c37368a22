"""Configuration, the size dial, and the counts, held against the real module."""

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model import count
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.presets import from_dial, tiny

SHAPES = [tiny(), from_dial(1, 320, 64), from_dial(3, 512, 64), from_dial(4, 1024, 64)]


@pytest.mark.parametrize("config", SHAPES, ids=lambda c: f"{c.num_layers}x{c.hidden_size}")
@pytest.mark.parametrize("tied", [True, False])
def test_counts_equal_the_module(config: ModelConfig, tied: bool) -> None:
    config = ModelConfig(**{**{f: getattr(config, f) for f in config.__slots__}, "tie_embeddings": tied})
    model = Decoder(config)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and (tied or n != "embedding.weight")]
    assert count.matrix_parameters(config) == sum(p.numel() for p in matrices)


def test_flops_equal_what_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = from_dial(2, 512, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Decoder(config)(torch.zeros(1, 48, dtype=torch.int64))
    assert counter.get_total_flops() == 48 * count.flops_per_token(config, 48, training=False)
    assert count.flops_per_token(config, 48) == 3 * count.flops_per_token(config, 48, training=False)


def test_cache_bytes_equal_the_allocated_ones() -> None:
    from ownlm.engine.cache import SlotCache

    config = from_dial(3, 512, 64)
    cache = SlotCache(
        Decoder(config).kv_shape(), 4, 31, torch.float32
    )  # a slot has one row more than its context
    assert cache.num_bytes == 4 * 32 * count.cache_bytes_per_token(config, 4)


@pytest.mark.parametrize("depth", range(1, 33))
def test_every_depth_gives_half_the_heads_to_keys(depth: int) -> None:
    config = from_dial(depth, 8192, 1024)
    assert config.num_heads == 2 * config.num_kv_heads
    assert config.num_heads * config.head_dim == config.hidden_size == 64 * ((depth + 1) // 2)
    assert config.intermediate_size % 64 == 0
    assert 8 / 3 <= config.intermediate_size / config.hidden_size < 8 / 3 + 64 / config.hidden_size


def test_contradictions_are_reported_together() -> None:
    with pytest.raises(UsageError) as caught:
        ModelConfig(512, 64, 192, 2, 5, 2, 15, 128)
    assert "num_heads = 5" in caught.value.values and "head_dim = 15" in caught.value.values
    with pytest.raises(UsageError, match="vocab_size = 0"):
        ModelConfig(0, 64, 192, 2, 4, 2, 16, 128)
    with pytest.raises(UsageError, match="max_positions"):
        tiny(max_positions=1 << 30)
    with pytest.raises(UsageError, match="depth = 0"):
        from_dial(0, 512, 64)
