import pytest

from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig, differences
from ownlm.train.schedules import scale


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
@pytest.mark.parametrize("num_steps", [1, 2, 10, 1000])
def test_every_rate_is_above_zero_and_at_most_one(schedule, num_steps):
    config = TrainConfig(num_steps=num_steps, schedule=schedule)
    assert all(0 < scale(config, step) <= 1 for step in range(num_steps))


def test_wsd_rises_stays_and_falls_linearly():
    config = TrainConfig(num_steps=100, warmup_fraction=0.1, decay_fraction=0.4)
    rates = [scale(config, step) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9:61] == [1.0] * 52
    assert rates[80] == pytest.approx(0.5) and rates[99] == pytest.approx(1 / 40)


def test_cosine_falls_by_half_a_cosine():
    config = TrainConfig(num_steps=100, schedule="cosine", warmup_fraction=0.0)
    assert scale(config, 0) == 1.0 and scale(config, 50) == pytest.approx(0.5)
    assert scale(config, 25) == pytest.approx(0.853553, abs=1e-5)


def test_all_contradictions_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        TrainConfig(num_steps=0, learning_rate=-1, warmup_fraction=0.7, decay_fraction=0.7, schedule="steps")
    for name in ("num_steps", "learning_rate", "decay_fraction", "schedule"):
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

    assert len(dataclasses.fields(TrainConfig)) <= 15
