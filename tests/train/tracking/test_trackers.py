"""The three adapters against the real packages: what they wrote is read back by their own readers."""

from __future__ import annotations

import importlib.util
import math
import struct
import sys

import planted
import pytest

from ownlm.errors import MissingDependency, UsageError
from ownlm.train.runs import Run
from ownlm.train.tracking import trackers
from ownlm.train.tracking.log import RunLog


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed (pip install 'ownlm[{package}]')")  # fmt: skip


def run_and_resume(folder, name: str) -> None:
    """Ten steps, then a session that goes on from step 8 with other losses."""
    with RunLog(folder, planted.settings(), track=[name], workplace=folder) as log:
        for step in range(1, 11):
            log.step(planted.record(step))
        log.validation(10, loss=2.5)
        assert list(log._trackers) == [name], Run(folder).events
    with RunLog(folder, planted.settings(), track=[name], workplace=folder) as log:
        for step in range(9, 13):
            log.step(planted.record(step, loss=7.0))
        log.validation(12, loss=2.25)
        log.gradients(12, {"blocks.0": 0.5, "blocks.1": math.inf})
        assert list(log._trackers) == [name], Run(folder).events


@needs("tensorboard")
def test_tensorboard_reads_one_line_per_step(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_and_resume(tmp_path, "tensorboard")
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    losses = read.Scalars("train/loss")
    assert [each.step for each in losses] == list(range(1, 13))
    expected = [planted.loss_at(step) for step in range(1, 9)] + [7.0] * 4
    assert [each.value for each in losses] == pytest.approx(expected, rel=1e-6)
    assert [(each.step, each.value) for each in read.Scalars("validation/loss")] == [(12, 2.25)]
    assert read.Scalars("gradients/blocks.1")[0].value == math.inf
    config = read.Tensors("config")[-1].tensor_proto.string_val[0].decode()
    assert "|learning_rate|null|" in config and "|num_steps|100|" in config


def history(data: bytes) -> list[dict[str, str]]:
    """The history rows of a .wandb file: a 7-byte head, then a LevelDB log (blocks of 32 KiB; each piece has checksum,
    length, kind: 1 whole, 2 first, 3 middle, 4 last) of protobuf records."""
    from wandb.proto import wandb_internal_pb2

    rows, at, text = [], 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        text += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(text)
            text = b""
            if record.WhichOneof("record_type") == "history":
                rows.append({item.key or "/".join(item.nested_key): item.value_json for item in record.history.item})  # fmt: skip
    return rows


@pytest.mark.slow
@needs("wandb")
def test_wandb_writes_offline_and_keeps_its_id(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    run_and_resume(tmp_path, "wandb")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert files and all(Run(tmp_path).facts["id"] in path.name for path in files)
    rows = []
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        rows += history(path.read_bytes())
    steps = [(int(row["step"]), float(row["train/loss"])) for row in rows if "train/loss" in row]
    assert steps == [(step, pytest.approx(planted.loss_at(step))) for step in range(1, 11)] + [(step, 7.0) for step in range(9, 13)]  # fmt: skip


@pytest.mark.slow  # the first database of a machine takes MLflow tens of seconds
@needs("mlflow")
def test_mlflow_keeps_one_run_in_a_local_store(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy", reason="MLflow's SQLite store needs sqlalchemy (pip install mlflow)")
    from mlflow.tracking import MlflowClient

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    run_and_resume(tmp_path, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("ownlm").experiment_id])
    assert len(found) == 1 and found[0].info.status == "FINISHED"
    assert found[0].data.params["num_steps"] == "100" and found[0].data.tags["ownlm.run"] == Run(tmp_path).facts["id"]  # fmt: skip
    history = client.get_metric_history(found[0].info.run_id, "train/loss")
    newest = {each.step: each.value for each in sorted(history, key=lambda each: each.timestamp)}
    assert newest == pytest.approx(
        {step: planted.loss_at(step) if step < 9 else 7.0 for step in range(1, 13)}
    )


@pytest.mark.parametrize("name", trackers.NAMES)
def test_a_missing_package_is_named_with_its_install_line(tmp_path, monkeypatch, name):
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency) as caught:
        RunLog(tmp_path, planted.settings(), track=[name])
    assert caught.value.fix == f"pip install 'ownlm[{name}]'"
    RunLog(tmp_path, planted.settings()).finish()  # the folder is not left locked


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UsageError, match="comet"):
        RunLog(tmp_path, planted.settings(), track=["comet"])


def test_a_tracker_that_fails_costs_a_note_and_not_the_run(tmp_path, monkeypatch):
    class Broken:
        def start(self, config):
            pass

        def log(self, step, values):
            if step == 3:
                raise ConnectionError("the net is <down>")

        def finish(self, status):
            raise AssertionError("it was left out")

    monkeypatch.setattr(trackers, "make", lambda *given: {"far": Broken()})
    said: list[str] = []
    with RunLog(tmp_path, planted.settings(), notice=said.append) as log:
        for step in range(1, 6):
            log.step(planted.record(step))
    assert said == ["far gets nothing more of this run: ConnectionError: the net is <down>"]
    run = Run(tmp_path)
    assert run.last_step == 5 and run.status == "finished" and run.events[0]["text"] == said[0]
