"""A planted leak is found; ordinary runs, steps up and noise are not called one."""

import random

import pytest
import torch
import world

from ownlm.train.health import memory
from ownlm.train.health.memory import (
    WARM_UP,
    LiveBytes,
    find_leak,
    live_kinds,
    resident_bytes,
    slope,
    watched,
)
from ownlm.train.loop import train

MIB = 1 << 20


def samples(grow, count=60, start=500 * MIB, noise=0):
    dice = random.Random(0)
    return [(step, int(start + grow(step) + dice.uniform(-noise, noise))) for step in range(count)]


@pytest.mark.parametrize("noise", [0, 3 * MIB])
def test_steady_growth_is_a_leak_with_its_slope(noise):
    leak = find_leak(samples(lambda step: step * MIB, noise=noise))
    assert leak is not None and leak.bytes_per_step == pytest.approx(MIB, rel=0.1)
    assert "KiB a step" in str(leak) and (leak.first, leak.last) == (0, 59)


@pytest.mark.parametrize(
    "grow",
    [
        lambda step: 0,
        lambda step: 200 * MIB * (step > 30),  # an evaluation in another shape
        lambda step: 100 * MIB * min(step, 10) / 10,  # caches that fill
        lambda step: 50 * MIB * (step % 7),  # up and down
        lambda step: -step * MIB,
        lambda step: step * 1024,  # the run's own list of losses
    ],
)
def test_other_shapes_are_none(grow):
    assert find_leak(samples(grow, noise=MIB)) is None


def test_one_outlier_does_not_move_the_slope():
    rows = samples(lambda step: step * 10)
    rows[30] = (30, 10**12)
    assert slope(rows) == pytest.approx(10)


def records(count):
    from ownlm.records import StepRecord

    return (StepRecord(n, count, 1.0, n, 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(1, count + 1))


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_planted_leak_is_told_once_with_what_leaks(real):
    """The process's own memory shows it only where the heap has no free blocks left of tests before."""
    kept, told = [], []
    bytes_of = memory.resident_bytes if real else lambda: (64 << 20) + sum(each.nbytes for each in kept)
    for record in watched(records(80), told.append, bytes_of):
        if record.step > 5:
            kept.append(torch.ones(300, 1024))  # 1.2 MiB
    (line,) = told
    assert "[300, 1024] float32" in line and "KiB a step" in line
    grown = int(line.split("grows by ")[1].split(" KiB")[0].replace(",", ""))
    assert grown == pytest.approx(1200, rel=0.25)


def test_an_ordinary_run_has_none_and_loses_no_record(tmp_path):
    told = []
    run = train(world.model(), world.batches(), world.settings(num_steps=30),
                tmp_path, lambda text: None)  # fmt: skip
    assert [record.step for record in watched(run, told.append)] == list(range(1, 31)) and not told
    assert WARM_UP < 30 and resident_bytes() > 50 * MIB


def test_live_bytes_count_what_lives_and_the_most_at_once():
    with LiveBytes() as live:
        a = torch.ones(1000)
        b = a * 2
        view = b.view(10, 100)
        assert live.now == 8000
        del b
        assert live.now == 8000  # the view holds it
        del view
        assert live.now == 4000
        a += 1
        assert live.now == 4000 and live.peak == 8000
    del a
    assert live.now == 0


def test_kinds_count_tensors():
    before = live_kinds()
    kept = [torch.ones(123, 7) for _ in range(5)]
    assert (live_kinds() - before)["[123, 7] float32"] == len(kept)
