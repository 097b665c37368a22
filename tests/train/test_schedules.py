import math

import pytest

from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig, differences
from ownlm.train.schedules import scale

SCHEDULES = ["wsd", "cosine", "linear", "constant", "restarts"]


def rates(num_steps=100, **settings):
    config = TrainConfig(num_steps=num_steps, **settings)
    return [scale(config, step) for step in range(num_steps)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 2, 10, 1000])
def test_every_rate_is_above_zero_and_at_most_one(schedule, num_steps):
    for warmup in (None, 0, 1, num_steps):
        assert all(0 < rate <= 1 for rate in rates(num_steps, schedule=schedule, warmup_steps=warmup))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("floor", [None, 0.0, 0.25])
@pytest.mark.parametrize("warmup", [0, 20])
def test_every_step_is_the_formulas(schedule, floor, warmup):
    N = 120
    f = floor if floor is not None else {"cosine": 0.1, "restarts": 0.1}.get(schedule, 0.0)

    def formula(step):
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / (N - warmup)  # 0 after the warm-up, 1 at the end
        shape = {
            "constant": 1.0,
            "linear": 1 - done,
            "wsd": min(1.0, (N - step) / 60),
            "cosine": (1 + math.cos(math.pi * done)) / 2,
            "restarts": (1 + math.cos(math.pi * (4 * done - math.floor(4 * done + 1e-9)))) / 2,
        }[schedule]
        return 1.0 if schedule == "constant" else f + (1 - f) * shape

    found = rates(
        N, schedule=schedule, warmup_steps=warmup, final_fraction=floor, restarts=4, decay_fraction=0.5
    )
    assert found == pytest.approx([formula(step) for step in range(N)], abs=1e-12)


def test_warm_up_against_none():
    """A thousand steps up to the peak, then the shape over the steps that are left; without, the peak at once."""
    with_it, without = (
        rates(4000, schedule="cosine", warmup_steps=1000),
        rates(4000, schedule="cosine", warmup_steps=0),
    )
    assert with_it[0] == pytest.approx(0.001) and with_it[499] == 0.5 and with_it[999] == with_it[1000] == 1.0
    assert without[0] == 1.0 and without[1000] < 0.9
    assert all(b - a == pytest.approx(0.001) for a, b in zip(with_it[:999], with_it[1:1000]))
    assert with_it[2500] == pytest.approx(0.55) and without[2000] == pytest.approx(
        0.55
    )  # half way down to 0.1


def test_wsd_rises_stays_and_falls_linearly():
    found = rates(warmup_fraction=0.1, decay_fraction=0.4)
    assert found[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert found[9:61] == [1.0] * 52
    assert found[80] == pytest.approx(0.5) and found[99] == pytest.approx(1 / 40)


def test_wsd_falls_from_the_end_of_a_long_warm_up_without_a_jump():
    found = rates(warmup_steps=80, decay_fraction=0.5)
    assert found[79] == found[80] == 1.0 and found[90] == pytest.approx(0.5)


def test_cosine_falls_by_half_a_cosine_to_a_tenth():
    found = rates(schedule="cosine", warmup_fraction=0.0)
    assert found[0] == 1.0 and found[50] == pytest.approx(0.55)
    assert found[25] == pytest.approx(0.1 + 0.9 * 0.853553, abs=1e-5)
    assert 0.1 < found[99] < 0.101, "to 0.1 of the peak; not clamped there before"
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("num_steps, restarts", [(30, 3), (49, 7), (1000, 10), (999, 27), (10, 3)])
def test_every_cycle_begins_at_the_peak(num_steps, restarts):
    found = rates(num_steps, schedule="restarts", warmup_steps=0, restarts=restarts)
    rises = [step for step in range(1, num_steps) if found[step] > found[step - 1]]
    assert len(rises) == restarts - 1
    if num_steps % restarts == 0:
        assert rises == [cycle * num_steps // restarts for cycle in range(1, restarts)]
        assert all(found[step] == 1.0 for step in [0, *rises])


def test_one_cycle_of_restarts_is_the_cosine():
    assert rates(schedule="restarts", restarts=1) == rates(schedule="cosine")


def test_all_contradictions_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        TrainConfig(num_steps=0, learning_rate=-1, warmup_fraction=0.7, decay_fraction=0.7)
    with pytest.raises(UsageError, match="schedule"):
        TrainConfig(num_steps=1, schedule="steps")
    for name in ("num_steps", "learning_rate", "decay_fraction"):
        assert name in caught.value.values


def test_only_what_decides_the_computation_makes_another_run():
    import dataclasses

    base = TrainConfig(num_steps=5)
    assert TrainConfig(num_steps=5, checkpoint_seconds=1, threads=1, compile=False).digest() == base.digest()
    assert TrainConfig(num_steps=6).digest() != base.digest()
    changed = dataclasses.asdict(TrainConfig(num_steps=6, threads=1, checkpoint_seconds=3))
    other, rounding = differences(dataclasses.asdict(base), changed)
    assert len(other) == 1 and "num_steps" in other[0]
    assert len(rounding) == 1 and "threads" in rounding[0]


def test_the_config_stays_small():
    import dataclasses

    assert len(dataclasses.fields(TrainConfig)) <= 30
