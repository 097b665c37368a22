"""The table of 256 values, blocks there and back, and 8-bit Adam beside its 32-bit twin on a tiny model."""

import pytest
import torch
import world

from ownlm.train.loop import train
from ownlm.train.optimizers.blockwise import BLOCK, dequantize, num_blocks, quantize, table


@pytest.mark.parametrize("signed", [True, False])
def test_the_table_is_the_dynamic_one(signed):
    values = table(signed).double()
    assert len(values) == 256 and (values[1:] > values[:-1]).all()
    assert values[-1] == 1.0 and (values == 0).sum() == 1
    steps = [2 ** ((6 if signed else 7) - e) for e in range(7)]
    for e, number in enumerate(steps):  # so many values in each decade
        inside = ((values > 0.1 * 10.0**-e) & (values < 10.0**-e)).sum()
        assert inside == number
    smallest = values[
        values > 0
    ].min()  # the middle of the only step, or of the lower of two, in the lowest decade
    assert smallest == pytest.approx((0.55 if signed else 0.325) * 1e-6, rel=1e-5)
    if signed:
        negative = values[values < 0].flip(0)
        assert torch.equal(-negative, values[(values > 0) & (values < 1)])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("number", [1, 255, 256, 257, 5000])
def test_there_and_back_is_the_nearest_value_of_the_table(signed, number):
    x = torch.randn(number, generator=torch.Generator().manual_seed(4)) * torch.logspace(-3, 2, number)
    x = x if signed else x.square()
    codes, scales = quantize(x, signed)
    assert codes.dtype == torch.uint8 and codes.shape == (num_blocks(number), BLOCK)
    back = dequantize(codes, scales, signed, number)
    for start in range(0, number, BLOCK):
        block, got = x[start : start + BLOCK], back[start : start + BLOCK]
        choices = table(signed) * block.abs().max()
        best = (block[:, None] - choices[None]).abs().min(1).values
        torch.testing.assert_close((block - got).abs(), best, rtol=1e-3, atol=float(block.abs().max()) * 1e-6)
    again, _ = quantize(back, signed)
    assert (again.int() - codes.int()).abs().max() <= 1


def test_zeros_come_back_as_zeros_and_a_small_second_moment_never_becomes_zero():
    codes, scales = quantize(torch.zeros(300), True)
    assert torch.equal(dequantize(codes, scales, True, 300), torch.zeros(300))
    x = torch.tensor([1.0, 1e-20, 0.0])
    back = dequantize(*quantize(x, False), False, 3)
    assert back[1] > 0 and back[2] == 0 and back[0] == 1


def test_eight_bits_track_thirty_two_on_a_tiny_model(tmp_path):
    losses = {}
    for name in ("adamw", "adam8bit"):
        settings = world.settings(num_steps=24, optimizer=name, embedding_optimizer=name, learning_rate=3e-3)
        records = list(train(world.model(), world.batches(), settings, tmp_path / name, lambda text: None))
        losses[name] = [record.loss for record in records]
    start, end = losses["adamw"][0], losses["adamw"][-1]
    assert end < start - 0.5, "there is something to track"
    worst = max(abs(a - b) for a, b in zip(losses["adamw"], losses["adam8bit"], strict=True))
    assert 0 < worst < 0.03 * (start - end)
