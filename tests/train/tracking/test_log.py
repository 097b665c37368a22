"""The run's own record: what a stranger finds in the folder after resumes, kills, roll-backs and bad values."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import planted
import pytest
import world

from ownlm.errors import MachineError, UsageError
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.runs import Run
from ownlm.train.tracking import facts
from ownlm.train.tracking.log import RunLog, alive


def test_a_real_training_is_recorded_step_for_step(tmp_path):
    config = world.settings(num_steps=6, checkpoint_steps=3)
    with RunLog(tmp_path, config, data={"shards": "ab" * 32}) as log:
        records = []
        for each in train(world.model(), world.batches(), config, tmp_path, notice=log.notice):
            log.step(each)
            records.append(each)
            if each.step == 4:
                log.validation(4, loss=each.loss)
    run = Run(tmp_path)
    history = world.losses(tmp_path)
    for name in ("step", "loss", "learning_rate", "grad_norm", "tokens"):
        assert run.steps[name] == [row[name] for row in history]
    assert run.steps["mfu"] == [each.mfu for each in records]
    assert run.status == "finished" and run.last_step == run.num_steps == 6 and run.eta == 0
    assert {0, 3, 6} >= {row["step"] for row in run.measured["checkpoint"]} >= {6}
    assert run.measured["validation"][0]["loss"] == records[3].loss and run.best() == (4, records[3].loss)
    assert any("threads" in event["text"] for event in run.events), "what the loop says is on the record"
    assert run.facts["data"] == {"shards": "ab" * 32}
    assert run.facts["config"]["num_steps"] == {"value": 6, "source": "caller"}
    assert run.facts["config"]["clip"] == {"value": 1.0, "source": "default"}


def test_recording_changes_no_bit_of_the_training(tmp_path):
    digests = []
    for name in ("bare", "logged"):
        model, config = world.model(), world.settings(num_steps=4)
        if name == "bare":
            list(train(model, world.batches(), config, tmp_path / name))
        else:
            with RunLog(tmp_path / name, config) as log:
                for each in train(model, world.batches(), config, tmp_path / name, notice=log.notice):
                    log.step(each)
        digests.append(world.weights_digest(model))
    assert digests[0] == digests[1]
    assert (tmp_path / "bare/losses.jsonl").read_bytes() == (tmp_path / "logged/losses.jsonl").read_bytes()


def test_a_resumed_run_has_one_line_per_step(tmp_path):
    planted.write(tmp_path, steps=30)
    with RunLog(tmp_path, planted.settings(learning_rate=0.5)) as log:
        log.validation(25, loss=9.0)
        for step in range(21, 41):
            log.step(planted.record(step, loss=7.0))
    run = Run(tmp_path)
    assert run.steps["step"] == list(range(1, 41)) and run.replaced == 10
    assert run.steps["loss"][19] == planted.loss_at(20) and run.steps["loss"][20:] == [7.0] * 20
    assert run.measured["validation"] == [], "it measured weights that are no more"
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "step" for line in lines) == 50, "what happened is kept"
    first, second = run.facts["sessions"]
    assert second["changed"] == {"learning_rate": [None, 0.5]} and "changed" not in first
    assert run.facts["started"] == first["started"] < second["started"]


def test_smoothing_starts_anew_where_the_run_does(tmp_path):
    """Rolled back at 20: the smoothed loss is that of an undisturbed run with the same losses."""
    planted.write(tmp_path / "straight", steps=30)
    with RunLog(tmp_path / "rolled", planted.settings()) as log:
        for step in range(1, 26):
            log.step(planted.record(step, **({"loss": 50.0} if step > 20 else {})))
        for step in range(21, 31):
            log.step(planted.record(step))
    straight, rolled = Run(tmp_path / "straight"), Run(tmp_path / "rolled")
    assert rolled.replaced == 5 and rolled.smooth == straight.smooth


def test_the_smoothed_loss_is_the_weighted_mean(tmp_path):
    run = Run(planted.write(tmp_path, steps=12))
    for life, column in run.smooth.items():
        weights = [0.5 ** ((11 - i) / life) for i in range(12)]
        expected = sum(w * v for w, v in zip(weights, run.steps["loss"], strict=True)) / sum(weights)
        assert column[-1] == pytest.approx(expected, rel=1e-12)


def test_a_cut_line_is_counted_and_costs_nothing_else(tmp_path):
    planted.write(tmp_path, steps=5)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "step", "step": 6, "lo')
    run = Run(tmp_path)
    assert run.damaged == 0, "it may still be on its way"
    with RunLog(tmp_path, planted.settings()) as log:
        log.step(planted.record(6))
    run.refresh()
    assert run.damaged == 1 and run.steps["step"] == [1, 2, 3, 4, 5, 6]
    assert run.events[0]["text"] == "the run was taken up again", "the next line is whole"


@pytest.mark.parametrize("line", [b"[]", b"7", b"{}", b'{"kind":"step","step":3,"time":1}', b'{"kind":"step","step":"x","time":1}', b"\xff\xfe", b"[" * 5000, b'{"kind":"new","step":1,"time":1}', b'{"kind":"step","step":9,"time":1,"loss":"<b>","learning_rate":1,"grad_norm":1,"tokens":1,"tokens_per_second":1,"mfu":1,"seconds":1}'])  # fmt: skip
def test_lines_that_make_no_sense_are_counted(tmp_path, line):
    planted.write(tmp_path, steps=2)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(line + b"\n")
    run = Run(tmp_path)
    assert run.damaged == 1 and run.steps["step"] == [1, 2]


def test_what_is_no_number_is_kept(tmp_path):
    with RunLog(tmp_path, planted.settings()) as log:
        log.step(planted.record(1, grad_norm=math.inf, event="overflow"))
        log.step(planted.record(2, loss=math.nan))
        log.gradients(2, {"a": math.nan})
    for text in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    run = Run(tmp_path)
    assert run.steps["grad_norm"][0] == math.inf and math.isnan(run.steps["loss"][1])
    assert run.smooth[20] == [planted.loss_at(1)] * 2


def test_two_writers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ownlm.train.tracking.log._PATIENCE", 0.05)
    with RunLog(tmp_path, planted.settings()):
        assert alive(tmp_path)
        with pytest.raises(UsageError, match="Another process"):
            RunLog(tmp_path, planted.settings())
    assert not alive(tmp_path)
    RunLog(tmp_path, planted.settings()).finish()


def test_how_it_ended(tmp_path):
    with pytest.raises(ValueError):
        with RunLog(tmp_path / "a", planted.settings()):
            raise ValueError("too <b>bad</b>")
    with pytest.raises(KeyboardInterrupt):
        with RunLog(tmp_path / "b", planted.settings()):
            raise KeyboardInterrupt
    failed, stopped = Run(tmp_path / "a"), Run(tmp_path / "b")
    assert failed.status == "failed" and failed.facts["why"] == "ValueError: too <b>bad</b>"
    assert stopped.status == "interrupted" and failed.facts["ended"] >= failed.facts["started"]


WRITER = """
import sys; sys.path[:0] = sys.argv[2:]
import time, planted
from pathlib import Path
from ownlm.train.tracking.log import RunLog
log = RunLog(Path(sys.argv[1]), planted.settings())
for step in range(1, 100):
    log.step(planted.record(step)); print(step, flush=True); time.sleep(0.01)
"""


def test_killed_at_any_moment_it_reads_whole_and_says_so(tmp_path):
    here = str(Path(__file__).parent)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), here], stdout=subprocess.PIPE, text=True
    )
    for text in writer.stdout:
        if int(text) >= 7:
            break
    run = Run(tmp_path)
    assert run.status == "running" and run.eta > 0
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    run.refresh()
    assert run.status == "killed" and run.damaged == 0
    assert run.steps["step"] == list(range(1, len(run.steps["step"]) + 1)) and run.last_step >= 7


def test_eta_and_next_checkpoint_follow_the_wall_clock(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    log = RunLog(tmp_path, planted.settings(checkpoint_steps=25, checkpoint_seconds=1e6))
    for step in range(1, 11):
        clock[0] += 2.0  # the step says 0.1 s; evaluations and saves took the rest
        log.step(planted.record(step))
    run = Run(tmp_path)
    assert run.eta == pytest.approx(180, rel=1e-3) and run.wall == pytest.approx(20, rel=1e-3)
    step, seconds = run.next_checkpoint(now=run.steps["time"][-1] + 5)
    assert step == 25 and seconds == pytest.approx(25, rel=1e-3)
    log.finish()
    clock[0] += 1000.0  # between sessions nobody works
    log = RunLog(tmp_path, planted.settings(checkpoint_seconds=7.0))
    for step in range(11, 14):
        clock[0] += 4.0
        log.step(planted.record(step))
    run.refresh()
    assert run.wall == pytest.approx(32, rel=1e-3) and run.eta == pytest.approx(4 * 87, rel=1e-3)
    assert run.next_checkpoint(now=run.steps["time"][-1]) == (14, pytest.approx(4, rel=1e-3))
    log.finish()


def test_a_full_disk_is_a_clear_error(tmp_path):
    log = RunLog(tmp_path, planted.settings())
    os.close(log._file)
    log._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(MachineError, match="metrics failed: No space"):
        log.step(planted.record(1))


def test_git_tells_commit_and_what_is_not_committed(tmp_path):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x", *arguments], check=True, capture_output=True)  # fmt: skip

    assert "why" in facts.git(tmp_path)
    git("init", "-b", "trunk")
    (tmp_path / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    clean = facts.git(tmp_path)
    assert clean["branch"] == "trunk" and not clean["dirty"] and len(clean["commit"]) == 40
    (tmp_path / "a.py").write_text("2")
    (tmp_path / "b.py").write_text("2")
    dirty = facts.git(tmp_path)
    assert dirty["dirty"] and dirty["changed"] == ["a.py", "b.py"] and dirty["commit"] == clean["commit"]


def test_settings_keep_their_sources_and_unknown_is_said():
    values = {"num_steps": 5, "pretrain": {"lr": 0.1, "betas": (0.9, 0.95)}, "where": Path("x")}
    shown = facts.settings(values, {"num_steps": "command line num_steps=5", "pretrain": "file run.yaml"})
    assert shown["pretrain.lr"] == {"value": 0.1, "source": "file run.yaml"}
    assert shown["pretrain.betas"] == {"value": [0.9, 0.95], "source": "file run.yaml"}
    assert shown["where"] == {"value": "x", "source": "unknown"}


def test_reserved_names_are_refused(tmp_path):
    with RunLog(tmp_path, TrainConfig(num_steps=1)) as log:
        with pytest.raises(UsageError, match="named numbers"):
            log.validation(1, time=3.0)
        with pytest.raises(UsageError, match="named numbers"):
            log.benchmark(1)


def test_gradients_sampled_beside_the_metrics_are_read(tmp_path):
    from ownlm.train.health import steplog

    planted.write(tmp_path, steps=4)
    run, sampled = Run(tmp_path), steplog.StepLog(tmp_path / "gradients.jsonl")
    for step in (2, 4, 6):
        sampled.append(step, {"norms": {"blocks.0": float(step)}})
    assert run.refresh() and not run.refresh()
    assert [row["norms"]["blocks.0"] for row in run.measured["gradients"]] == [2.0, 4.0], "6 was rolled back"
