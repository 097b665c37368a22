"""A run's own record: metrics.jsonl and run.json in its folder, fed from outside the loop.

    with RunLog(folder, config) as log:
        for record in train(model, batch_at, config, folder, notice=log.notice):
            log.step(record)
            if record.step % 1000 == 0:
                log.validation(record.step, loss=measure(model))

    metrics.jsonl   one line per thing that happened, in the order it happened, never rewritten:
        {"kind": "session", "step": 0, "time": 1700000000.0}           the process began (again)
        {"kind": "step", "step": 1, "time": ..., "loss": ..., "learning_rate": ..., "grad_norm": ..., "tokens": ...,
         "tokens_per_second": ..., "mfu": ..., "seconds": ..., "event": ""}
        {"kind": "validation" | "benchmark", "step": 1000, "time": ..., <name>: <number>, ...}
        {"kind": "gradients", "step": 1000, "time": ..., "norms": {<layer>: <number>, ...}}
        {"kind": "checkpoint", "step": 1000, "time": ..., "name": "step-001000"}
        {"kind": "event", "step": 57, "time": ..., "text": "..."}
    run.json        what the run is: settings with sources, commit, data, machine, sessions, status

A resumed or rolled-back run writes steps again. The file keeps both, as it happened; `ownlm.train.runs` reads one line
per step. Each line is one write: a kill can cut only the last, which the next session closes off. The lock on
metrics.jsonl says that the writer is alive; it goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ownlm.errors import ArtifactError, UsageError
from ownlm.records import StepRecord
from ownlm.runtime import files
from ownlm.train.config import TrainConfig
from ownlm.train.tracking import facts, trackers

METRICS, RUN = "metrics.jsonl", "run.json"
STATUSES = ("running", "finished", "failed", "interrupted")
_PATIENCE = 1.0  # seconds for a reader that holds the lock while it looks


def quiet(text: str) -> None:
    pass


class RunLog:
    """Writes one run; in a run of several processes only the first has one. Closing without `finish` is a failure."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        settings: Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        track: Sequence[str] = (),
        notice: Callable[[str], None] = quiet,
        name: str | None = None,
        note: str = "",
        workplace: Path | None = None,
    ) -> None:
        """`settings`, `sources`: every resolved setting and where it came from (ownlm.config.Resolved); None: those
        of `config`. `data`: input artifact -> its digest. `track`: names of trackers.py. `workplace`: the folder
        whose git commit counts, None: the current one.

        Raises UsageError when another process writes this run, MissingDependency, MachineError.
        """
        self.folder, self._notice, self._last = folder, notice, 0
        self._file = _opened(folder / METRICS)
        try:
            self.run = self._described(config, settings, sources, data, name, note, workplace)
            self._trackers = trackers.make(track, folder, self.run["id"], self.run["name"])
            files.write_json(folder / RUN, self.run)
        except BaseException:
            os.close(self._file)
            raise
        self._checkpoints = folder / "checkpoints"
        self._seen, self._saved = 0, _saved(self._checkpoints)
        self._began, self._clock = self.run["sessions"][-1]["started"], time.monotonic()
        self._write("session", self.run["sessions"][-1]["step"])
        for each, tracker in list(self._trackers.items()):
            self._guarded(each, lambda tracker=tracker: tracker.start(self._values()))  # type: ignore[misc]

    def _described(
        self, config: TrainConfig, settings: Mapping[str, Any] | None, sources: Mapping[str, str] | None,
        data: Mapping[str, str] | None, name: str | None, note: str, workplace: Path | None,
    ) -> dict[str, Any]:  # fmt: skip
        """What run.json says from now on; a resumed run keeps its id, start and earlier sessions."""
        path = self.folder / RUN
        before = files.read_json(path) if path.exists() else {}
        if before and (not isinstance(before, dict) or before.get("format") != 1):
            raise ArtifactError("run.json is not of a run.", str(path), "use another folder for this run")
        if settings is None:
            settings, sources = facts.of_train_config(config)
        shown = facts.settings(settings, sources)
        now = round(time.time(), 3)
        session: dict[str, Any] = {
            "started": now,
            "step": max(_saved(self.folder / "checkpoints"), default=0),
            "pid": os.getpid(),
        }
        old = before.get("config", {})
        if changed := sorted(key for key in shown.keys() | old.keys() if before and _value(shown, key) != _value(old, key)):  # fmt: skip
            session["changed"] = {key: [_value(old, key), _value(shown, key)] for key in changed}
        return {
            "format": 1, "id": before.get("id") or secrets.token_hex(4), "name": name or before.get("name") or self.folder.resolve().name,
            "note": note or before.get("note", ""), "status": "running", "why": "", "started": before.get("started", now),
            "ended": None, "num_steps": config.num_steps, "checkpoint_steps": config.checkpoint_steps,
            "checkpoint_seconds": config.checkpoint_seconds, "config": shown, "data": dict(data or {}),
            "git": facts.git(workplace or Path.cwd()), "environment": facts.environment(),
            "sessions": [*before.get("sessions", []), session],
        }  # fmt: skip

    def step(self, record: StepRecord) -> None:
        """Write a step of the loop, and the checkpoint that came with it."""
        self._last = record.step
        values: dict[str, Any] = {
            "loss": record.loss, "learning_rate": record.learning_rate, "grad_norm": record.grad_norm, "tokens": record.tokens,
            "tokens_per_second": record.tokens_per_second, "mfu": record.mfu, "seconds": record.seconds,
        }  # fmt: skip
        self._write("step", record.step, **values, event=record.event)
        self._send(record.step, "train", values)
        self._look_for_checkpoints()

    def validation(self, step: int, **values: float) -> None:
        self._measured("validation", step, values)

    def benchmark(self, step: int, **values: float) -> None:
        self._measured("benchmark", step, values)

    def gradients(self, step: int, norms: Mapping[str, float]) -> None:
        """Norm of the gradient of every layer."""
        self._write("gradients", step, norms=dict(norms))
        self._send(step, "gradients", norms)

    def event(self, text: str, step: int | None = None) -> None:
        """Something out of the ordinary; it stays on the record even when its step is taken again."""
        self._write("event", self._last if step is None else step, text=text)

    def notice(self, text: str) -> None:
        """For the loop: on the record, and on to the user."""
        self.event(text)
        self._notice(text)

    def _measured(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        taken = values.keys() & {"kind", "step", "time"}
        if not values or taken:
            raise UsageError(
                f"A {kind} needs named numbers.", f"{sorted(taken)} mean something else", "rename them"
            )
        self._write(kind, step, **values)
        self._send(step, kind, values)

    def _look_for_checkpoints(self) -> None:
        """A line for each checkpoint that appeared: finished ones are renamed into their folder, which dates it."""
        try:
            changed = os.stat(self._checkpoints).st_mtime_ns
        except OSError:
            return
        if changed != self._seen:
            self._seen, found = changed, _saved(self._checkpoints)
            for step in sorted(found - self._saved):
                self._write("checkpoint", step, name=f"step-{step:06d}")
            if found - self._saved:
                os.fsync(self._file)  # what a resume goes on from is on the disk, and so is the way to it
            self._saved = found

    def _send(self, step: int, group: str, values: Mapping[str, float]) -> None:
        if self._trackers:
            named = {f"{group}/{key}": float(value) for key, value in values.items()}
            for each, tracker in list(self._trackers.items()):
                self._guarded(each, lambda tracker=tracker: tracker.log(step, named))  # type: ignore[misc]

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        """A tracker that fails is told about and left out from then on: it must not cost the run."""
        try:
            call()
        except Exception as error:
            del self._trackers[name]
            self.notice(f"{name} gets nothing more of this run: {type(error).__name__}: {error}")

    def _write(self, kind: str, step: int, **values: Any) -> None:
        at = round(self._began + time.monotonic() - self._clock, 3)
        try:
            line = json.dumps({"kind": kind, "step": step, "time": at, **values}, allow_nan=False)
        except ValueError:  # not a number: JSON has no word for it
            line = json.dumps({"kind": kind, "step": step, "time": at, **facts.plain(values)})
        try:
            data = line.encode() + b"\n"
            if os.write(self._file, data) != len(
                data
            ):  # a disk that is just full; the rest would fail as well
                raise OSError(28, os.strerror(28), str(self.folder / METRICS))
        except OSError as error:
            raise files.machine_error(error, "writing the run's metrics") from error

    def _values(self) -> dict[str, Any]:
        return {key: entry["value"] for key, entry in self.run["config"].items()}

    def finish(self, status: str = "finished", why: str = "") -> None:
        """Once; afterwards nothing can be written."""
        if status not in STATUSES[1:]:
            raise UsageError("A run does not end like this.", status, f"one of {', '.join(STATUSES[1:])}")
        if self._file < 0:
            return
        self._look_for_checkpoints()
        for each, tracker in list(self._trackers.items()):
            self._guarded(each, lambda tracker=tracker: tracker.finish(status))  # type: ignore[misc]
        now = round(self._began + time.monotonic() - self._clock, 3)
        self.run |= {"status": status, "why": why, "ended": now}
        self.run["sessions"][-1] |= {"ended": now, "status": status}
        try:
            files.write_json(self.folder / RUN, self.run)
            os.fsync(self._file)
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, KeyboardInterrupt | SystemExit | GeneratorExit):
            self.finish("interrupted", kind.__name__)
        else:
            self.finish("failed", f"{kind.__name__}: {error}")


def alive(folder: Path) -> bool:
    """Whether a process is writing this run now."""
    try:
        with open(folder / METRICS, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _opened(path: Path) -> int:
    """The file to append to, locked, its last line whole. Raises UsageError, MachineError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise files.machine_error(error, "opening the run's metrics") from error
    end = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise UsageError("Another process is writing this run.", str(path.parent),
                                     "wait for it, end it, or train into another folder") from error  # fmt: skip
                time.sleep(0.02)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
    except BaseException:
        os.close(file)
        raise
    return file


def _saved(folder: Path) -> set[int]:
    """Steps of the finished checkpoints."""
    if not folder.is_dir():
        return set()
    names = [path.name for path in folder.iterdir()]
    return {int(name[5:]) for name in names if name.startswith("step-") and name[5:].isdecimal()}


def _value(config: Mapping[str, Any], key: str) -> Any:
    return config.get(key, {}).get("value", "(absent)")
