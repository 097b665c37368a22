"""Schedules against the formula of their bubble, without processes; the pipeline against one process, with two."""

from __future__ import annotations

import itertools

import grid
import pytest

from ownlm.errors import UsageError
from ownlm.train.parallel.bubble import Action, Name, bubble, schedule, simulate
from ownlm.train.parallel.pipeline import stages_of

SIZES: list[tuple[Name, int, int, int]] = [(name, p, m, v) for p, m in itertools.product((1, 2, 3, 4, 8), (1, 2, 4, 8, 12))
         for name, v in (("gpipe", 1), ("1f1b", 1), ("interleaved", 1), ("interleaved", 2), ("interleaved", 3))
         if name != "interleaved" or m % p == 0]  # fmt: skip


@pytest.mark.parametrize("backward", [1.0, 2.0, 2.7])
def test_the_simulated_bubble_is_that_of_the_formula(backward: float) -> None:
    for name, p, m, v in SIZES:
        found = simulate(schedule(name, p, m, v), v, 1.0, backward)
        assert found.idle == pytest.approx(((p - 1) / v) / (m + (p - 1) / v), abs=1e-9), (name, p, m, v)
        assert found.idle == pytest.approx(bubble(p, m, v), abs=1e-9)
        assert found.seconds == pytest.approx((m + (p - 1) / v) * (1 + backward))


def test_every_micro_batch_goes_once_each_way_through_every_stage() -> None:
    for name, p, m, v in SIZES:
        for actions in schedule(name, p, m, v):
            assert len(actions) == len(set(actions)) == 2 * m * v
            for chunk, micro in itertools.product(range(v), range(m)):
                assert actions.index(Action("forward", chunk, micro)) < actions.index(
                    Action("backward", chunk, micro)
                )


def test_1f1b_holds_fewer_activations_than_gpipe() -> None:
    assert simulate(schedule("gpipe", 4, 12)).in_flight == (12, 12, 12, 12)
    assert simulate(schedule("1f1b", 4, 12)).in_flight == (4, 3, 2, 1)


def test_the_drawing_in_the_docstring() -> None:
    first = [("F" if a.kind == "forward" else "B") + str(a.micro) for a in schedule("1f1b", 3, 4)[0]]
    assert first == ["F0", "F1", "F2", "B0", "F3", "B1", "B2", "B3"]


def test_a_schedule_that_waits_for_itself_is_found() -> None:
    actions = schedule("1f1b", 2, 2)
    actions[1].reverse()
    with pytest.raises(UsageError, match="never ends"):
        simulate(actions)


@pytest.mark.parametrize(("name", "p", "m", "v", "words"), [
    ("interleaved", 4, 6, 2, "4 or 8 micro-batches"), ("1f1b", 2, 2, 2, "interleaved"), ("zigzag", 2, 2, 1, "gpipe"),
    ("gpipe", 0, 1, 1, "1 or more"),
])  # fmt: skip
def test_sizes_that_a_schedule_cannot_have(name: Name, p: int, m: int, v: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        schedule(name, p, m, v)
    assert words in str(caught.value.fix)


def test_layers_are_shared_out_evenly() -> None:
    assert [len(each) for each in stages_of(10, 4)] == [3, 3, 2, 2]
    assert [n for each in stages_of(10, 4) for n in each] == list(range(10))
    with pytest.raises(UsageError, match="more stages"):
        stages_of(3, 4)


@pytest.mark.parametrize("case", ["gpipe", "1f1b", "interleaved", "untied"])
def test_a_pipeline_trains_as_one_process(case: str) -> None:
    for found in grid.fast()[case]:
        assert found["loss"] <= 1e-5 and found["norm"] <= 1e-5 and found.get("weights", 0.0) <= 1e-5, found
        assert found["parameters"] < 0.75  # each has its stages only


def test_what_a_pipeline_refuses() -> None:
    assert "at most 2 stages" in grid.fast()["refused"][0]["stages"]
