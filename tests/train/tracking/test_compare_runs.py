"""Two runs side by side: planted differences are found, and nothing else."""

from __future__ import annotations

import planted
import pytest

from ownlm.errors import ArtifactError, UsageError
from ownlm.train.runs import Run, find, load
from ownlm.train.tracking.compare import compare


def test_planted_differences_are_found_and_nothing_else(tmp_path):
    a = planted.write(
        tmp_path / "a", config=planted.settings(), data={"shards": "1" * 64, "tokenizer": "2" * 64}
    )
    b = planted.write(tmp_path / "b", config=planted.settings(clip=0.5, seed=1), data={"shards": "3" * 64, "tokenizer": "2" * 64})  # fmt: skip
    facts = compare([Run(a), Run(b)])
    assert facts["settings"] == [
        {"key": "clip", "values": [1.0, 0.5], "sources": ["default", "caller"]},
        {"key": "seed", "values": [0, 1], "sources": ["default", "caller"]},
    ]
    assert facts["data"] == [{"key": "shards", "values": ["1" * 64, "3" * 64]}]
    assert facts["code"] == [] and facts["environment"] == []


def test_a_source_alone_is_no_difference_and_true_is_not_one(tmp_path):
    a = planted.write(tmp_path / "a", settings={"x": 1, "y": 2}, sources={"y": "default"})
    b = planted.write(tmp_path / "b", settings={"x": True, "y": 2, "z": None}, sources={"y": "file"})
    rows = compare([Run(a), Run(b)])["settings"]
    assert [(row["key"], row["values"]) for row in rows] == [("x", [1, True]), ("z", ["(absent)", None])]


def test_losses_at_equal_steps_and_tokens(tmp_path):
    """b is 0.5 lower at every step, with half the tokens per step."""
    from ownlm.train.tracking.log import RunLog

    a = planted.write(tmp_path / "a", steps=80)
    with RunLog(tmp_path / "b", planted.settings()) as log:
        for step in range(1, 41):
            log.step(planted.record(step, loss=planted.loss_at(step) - 0.5, tokens=64 * step))
        log.validation(20, loss=1.0)
        log.validation(40, loss=1.25)
    runs = [Run(a), Run(tmp_path / "b")]
    losses = compare(runs)["losses"]
    assert [point["at"] for point in losses["step"]] == [5, 10, 20, 30, 40]
    for point in losses["step"]:
        assert point["losses"][0] - point["losses"][1] == pytest.approx(0.5) and point["lowest"] == 1
    last = losses["tokens"][-1]
    assert last["at"] == 64 * 40
    assert last["losses"] == [runs[0].smooth[20][19], runs[1].smooth[20][39]]
    assert compare(runs)["measured"] == {"validation loss": [None, {"last": 1.25, "last_step": 40, "best": 1.0, "best_step": 20}]}  # fmt: skip


def test_runs_are_found_below_a_folder_each_once(tmp_path):
    for name in ("x/one", "x/two", "three"):
        planted.write(tmp_path / name, steps=1)
    assert [run.name for run in load([tmp_path / "x", tmp_path])] == ["one", "two", "three"]
    with pytest.raises(ArtifactError):
        list(find([tmp_path / "nowhere"]))
    with pytest.raises(ArtifactError):
        Run(tmp_path)
    with pytest.raises(UsageError):
        compare([Run(tmp_path / "three")])
