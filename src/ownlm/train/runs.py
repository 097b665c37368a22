"""Reading run folders: what `tracking/log.py` writes, while it is being written. Torch-free.

    run = Run(folder)
    run.refresh()            # reads only what is new; True when something is
    run.steps["loss"][-1]

One row per step: a step that comes again (resume, roll-back) replaces itself and every step and measurement after it;
`run.replaced` counts them. Events stay, they did happen.
"""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError
from ownlm.runtime import files
from ownlm.train.health import steplog
from ownlm.train.tracking.log import METRICS, RUN, alive

COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second", "mfu", "seconds", "time", "elapsed")  # fmt: skip
HALF_LIVES = (5, 20, 100, 500)
"""Of the smoothed losses, in steps."""
GRADIENTS = "gradients.jsonl"
_MEASURED = ("validation", "benchmark", "gradients", "checkpoint")
_WINDOW = 100  # steps that the ETA is taken from
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Run:
    """One run as far as it is written. `elapsed` is seconds of work: the time between sessions is left out, the work
    that was lost is not."""

    def __init__(self, folder: Path) -> None:
        """Raises ArtifactError when `folder` holds no run."""
        if not (folder / RUN).is_file() or not (folder / METRICS).is_file():
            raise ArtifactError("This folder holds no run.", f"{folder} has no {RUN} and {METRICS}",
                                "give a folder that a training run writes; `ownlm runs list DIR` finds them")  # fmt: skip
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self.steps: dict[str, list[float]] = {name: [] for name in COLUMNS}
        self.smooth: dict[int, list[float]] = {life: [] for life in HALF_LIVES}
        self.measured: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _MEASURED}
        self.events: list[dict[str, Any]] = []
        self.replaced = 0  # steps that were taken again
        self.damaged = 0  # lines that could not be read
        self.version = 0  # grows with every change
        self._offset = 0
        self._sampled = (0, 0)
        self._stamp: tuple[int, int] = (0, 0)
        self._counts: list[int] = []  # finite losses so far, for the smoothing's start
        self._session = (0.0, 0.0)  # began at, work before it
        self._first_row, self._saved = (
            0,
            0.0,
        )  # of the session; time of its newest checkpoint, else of its start
        self._elapsed = 0.0
        self.refresh()

    def refresh(self) -> bool:
        """Take in what was written since; a line still being written waits. Raises ArtifactError for a damaged run.json."""
        stat = (self.folder / RUN).stat()
        new = (stat.st_mtime_ns, stat.st_ino) != self._stamp
        if new:
            facts = files.read_json(self.folder / RUN)
            if not isinstance(facts, dict) or facts.get("format") != 1:
                raise ArtifactError(
                    "run.json is not of a run.", str(self.folder / RUN), "give another folder"
                )
            self.facts, self._stamp = facts, (stat.st_mtime_ns, stat.st_ino)
        with open(self.folder / METRICS, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].split(b"\n")[:-1]:
            self._take(line)
        self._offset += whole
        sampled = self._read_gradients()
        self.version += bool(whole or new or sampled)
        return bool(whole or new or sampled)

    def _read_gradients(self) -> bool:
        """The norms that health/gradients.py samples beside the metrics, anew when their file has changed."""
        path = self.folder / GRADIENTS
        if not path.is_file():
            return False
        stat = path.stat()
        if (stat.st_mtime_ns, stat.st_size) == self._sampled:
            return False
        self._sampled = (stat.st_mtime_ns, stat.st_size)
        rows = [row for row in steplog.read(path) if row.get("step", 0) <= max(self.last_step, 1)]
        self.measured["gradients"] = rows
        return True

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            kind, step, at = row["kind"], int(row["step"]), float(row["time"])
            if kind == "step":
                row |= {name: _number(row[name]) for name in COLUMNS[1:-2]}
            elif kind in _MEASURED:
                row |= {key: _SPECIAL.get(value, value) for key, value in row.items() if isinstance(value, str) and key not in ("kind", "name")}  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.damaged += 1
            return
        if kind == "session":
            self._session, self._saved = (at, self._elapsed), at
            self._first_row = len(self.steps["step"])
        self._elapsed = max(self._elapsed, self._session[1] + at - self._session[0])
        if kind == "step":
            self._take_step(step, at, row)
        elif kind in _MEASURED:
            self.measured[kind].append(row)
            self._saved = at if kind == "checkpoint" else self._saved
        elif kind == "event":
            self.events.append({"step": step, "time": at, "text": str(row.get("text", ""))})
        elif kind == "session":
            if self.steps["step"]:
                self.events.append({"step": step, "time": at, "text": "the run was taken up again"})
        else:
            self.damaged += 1

    def _take_step(self, step: int, at: float, row: dict[str, Any]) -> None:
        if self.steps["step"] and step <= self.steps["step"][-1]:
            self._forget(step)
        for name in COLUMNS[1:-2]:
            self.steps[name].append(row[name])
        for name, value in (("step", step), ("time", at), ("elapsed", self._elapsed)):
            self.steps[name].append(value)
        if row.get("event"):
            self.events.append({"step": step, "time": at, "text": str(row["event"])})
        self._smooth(row["loss"])

    def _forget(self, step: int) -> None:
        """Drop this step and everything measured from it on."""
        at = bisect_left(self.steps["step"], step)
        self.replaced += len(self.steps["step"]) - at
        for column in (*self.steps.values(), *self.smooth.values()):
            del column[at:]
        del self._counts[at:]
        self._first_row = min(self._first_row, at)
        for kind, rows in self.measured.items():
            if kind != "checkpoint":
                rows[:] = [row for row in rows if row["step"] < step]

    def _smooth(self, loss: float) -> None:
        """Exponential mean, freed of its start: value n is the weighted mean of the n losses so far."""
        count = self._counts[-1] if self._counts else 0
        for life, column in self.smooth.items():
            before = column[-1] if column else math.nan
            if math.isfinite(loss):
                keep = 0.5 ** (1 / life)
                old, new = 1 - keep**count, 1 - keep ** (count + 1)
                before = loss if count == 0 else (keep * old * before + (1 - keep) * loss) / new
            column.append(before)
        self._counts.append(count + math.isfinite(loss))

    @property
    def name(self) -> str:
        return str(self.facts.get("name") or self.folder.name)

    @property
    def last_step(self) -> int:
        return int(self.steps["step"][-1]) if self.steps["step"] else 0

    @property
    def num_steps(self) -> int:
        return int(self.facts.get("num_steps") or 0)

    @property
    def status(self) -> str:
        """running, finished, failed, interrupted; killed: it says running, and nobody writes it."""
        said = str(self.facts.get("status", ""))
        return "killed" if said == "running" and not alive(self.folder) else said

    @property
    def seconds_per_step(self) -> float | None:
        """Wall time of the last steps of this session, evaluations and saves included; None before the second."""
        times = self.steps["time"][max(self._first_row, len(self.steps["time"]) - _WINDOW) :]
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None

    @property
    def eta(self) -> float | None:
        """Seconds that are left at that pace; 0 at the end."""
        left, pace = self.num_steps - self.last_step, self.seconds_per_step
        return 0.0 if left <= 0 else None if pace is None else left * pace

    @property
    def wall(self) -> float:
        return self._elapsed

    def next_checkpoint(self, now: float | None = None) -> tuple[int, float] | None:
        """(about which step, in how many seconds) the next one is due; None when that cannot be said."""
        pace = self.seconds_per_step
        if pace is None or self.last_step >= self.num_steps:
            return None
        steps = [self.num_steps]
        if every := self.facts.get("checkpoint_steps"):
            steps.append((self.last_step // every + 1) * every)
        if pace > 0 and (seconds := self.facts.get("checkpoint_seconds")):
            wait = max(0.0, self._saved + seconds - self.steps["time"][-1])
            steps.append(self.last_step + max(1, math.ceil(wait / pace)))
        step = min(steps)
        since = max(0.0, (time.time() if now is None else now) - self.steps["time"][-1])
        return step, max(0.0, (step - self.last_step) * pace - since)

    def best(self, name: str = "loss") -> tuple[int, float] | None:
        """(step, value) of the lowest validation of this name."""
        found = [
            (row[name], row["step"])
            for row in self.measured["validation"]
            if isinstance(row.get(name), int | float)
        ]
        finite = [pair for pair in found if math.isfinite(pair[0])]
        return (min(finite)[1], min(finite)[0]) if finite else None


def _number(value: Any) -> float:
    found = _SPECIAL.get(value, value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(f"{value!r} is not a number")
    return found


def find(places: list[Path]) -> Iterator[Path]:
    """The run folders at and below these places, in order of their names, each once.

    Raises ArtifactError for a place that is not there.
    """
    seen: set[Path] = set()
    for place in places:
        if not place.is_dir():
            raise ArtifactError(
                "There is no such folder.", str(place), "give a run folder or one that holds runs"
            )
        for path in sorted(place.rglob(RUN)):
            folder = path.parent
            if (folder / METRICS).is_file() and folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def load(places: list[Path]) -> list[Run]:
    """Raises ArtifactError when nothing is found."""
    found = [Run(folder) for folder in find(places)]
    if not found:
        raise ArtifactError(
            "There is no run.", ", ".join(map(str, places)), "train with a run folder below it first"
        )
    return found
