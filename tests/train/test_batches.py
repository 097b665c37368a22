"""Batches are pure in the step, targets are the next tokens, an epoch visits each window once."""

import numpy as np
import pytest
import torch

from ownlm.errors import DataError
from ownlm.train.batches import shard_batches


class Shards:
    def __init__(self, num_tokens):
        self.tokens = np.arange(num_tokens, dtype=np.uint32)  # a token's value is its position


def test_targets_are_the_tokens_after_the_inputs():
    batch = shard_batches(Shards(1000), 16, 4, seed=5)(3)
    assert batch.inputs.shape == batch.targets.shape == (4, 16)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert torch.equal(batch.targets, batch.inputs + 1)


def test_a_batch_depends_on_the_step_and_the_seed_alone():
    first, second = shard_batches(Shards(1000), 16, 4, seed=5), shard_batches(Shards(1000), 16, 4, seed=5)
    forward = [first(step) for step in range(60)]  # crosses epochs
    for step in reversed(range(60)):
        assert torch.equal(second(step).inputs, forward[step].inputs)
    assert not torch.equal(shard_batches(Shards(1000), 16, 4, seed=6)(0).inputs, forward[0].inputs)


@pytest.mark.parametrize("num_tokens", [64, 65, 79, 80, 81, 1000])
def test_an_epoch_visits_each_window_once_and_epochs_differ(num_tokens):
    batches = shard_batches(Shards(num_tokens), 16, 1, seed=1)
    epochs = []
    for epoch in range(3):
        starts = [
            int(batches(epoch * batches.num_windows + i).inputs[0, 0]) for i in range(batches.num_windows)
        ]
        assert len(set(starts)) == len(starts)
        assert len({start % 16 for start in starts}) == 1 and max(starts) + 16 < num_tokens
        epochs.append(starts)
    assert epochs[0] != epochs[1]
    assert num_tokens - batches.num_windows * 16 < 32  # less than two windows are left out of an epoch
    assert batches.epochs(2 * batches.num_windows) == 2.0


def test_too_little_text_is_an_error():
    with pytest.raises(DataError, match="two windows need 32"):
        shard_batches(Shards(31), 16, 1, seed=0)
