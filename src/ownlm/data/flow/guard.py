"""A task in a child process with limits: what kills the child is quarantined, the rest of the task goes on.

The child is forked, so that a new one costs milliseconds; it goes on behind the last unit that was closed (journal.py).
A unit that crashes the child, or takes more processor time than allowed, is tried once more and then given up; a unit
that makes a step raise is given up at once. Memory is limited by the kernel (RLIMIT_DATA), so too large a wish becomes
a MemoryError in the child.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from ownlm.data.flow.chain import BrokenStep
from ownlm.data.flow.recipe import Pipeline
from ownlm.data.flow.task import GivenUp, Task, UnitFailed, perform
from ownlm.errors import DataError, OwnlmError, from_row, to_row

MOST_ATTEMPTS = 2
MOST_IN_A_ROW = 20  # units on which a step raises, one after the other: then the step is broken, not the data
WALL_PER_CPU = 6.0  # a child that sleeps is given up after this many times its processor time
_POLL_SECONDS = 0.02
_FAILED, _REFUSED = 64, 65  # exit codes of the child: a step raised; the run cannot go on


def run_guarded(task: Task, pipeline: Pipeline) -> None:
    """Raises DataError when a step is broken, and whatever OwnlmError the child ran into."""
    given_up = GivenUp()
    failures: list[int] = []
    while not task.done():
        ended = _attempt(task, pipeline, given_up)
        if ended.code == 0:
            return
        if ended.code == _REFUSED:
            raise from_row(json.loads(ended.message))
        if ended.code == _FAILED:
            failures.append(ended.unit)
            note_failure(given_up, failures, ended.unit, ended.message)
        else:
            _note_death(given_up, ended, str(task.prefix))


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a child ended."""

    code: int  # its exit code, or minus the signal that killed it
    unit: int  # the unit at hand; -1: none
    message: str  # what it said
    reason: str  # why it was killed here; "": it was not


def _attempt(task: Task, pipeline: Pipeline, given_up: GivenUp) -> _Ended:
    beat = mmap.mmap(-1, 1 << 16)
    _write(beat, -1)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with(parent)
        _child(task, pipeline, given_up, beat)
    status, reason = _watch(pid, beat, pipeline)
    unit, message = _read(beat)
    return _Ended(os.waitstatus_to_exitcode(status), unit, message, reason)


def _note_death(given_up: GivenUp, ended: _Ended, where: str) -> None:
    """The unit at hand is tried once more, then given up. Raises DataError when no unit is to blame."""
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit {ended.code}"
    reason = ended.reason or f"killed the worker: {how}"
    if ended.unit < 0 or ended.unit in given_up.reasons:
        raise DataError(
            "A worker died outside any document.",
            f"{where}: {reason}",
            "run the same command again; if it repeats, give it more memory",
        )
    given_up.attempts[ended.unit] = given_up.attempts.get(ended.unit, 0) + 1
    if given_up.attempts[ended.unit] >= MOST_ATTEMPTS:
        given_up.reasons[ended.unit] = reason


def run_inline(task: Task, pipeline: Pipeline) -> None:
    """The same without a child: no limits of time and memory. For tests and small trusted inputs."""
    given_up = GivenUp()
    failures: list[int] = []
    while not task.done():
        try:
            perform(task, pipeline, given_up.reasons, lambda number: None)
        except UnitFailed as error:
            failures.append(error.number)
            note_failure(given_up, failures, error.number, str(error))
        except BrokenStep as error:
            raise _broken(error) from error


def _broken(error: BrokenStep) -> DataError:
    return DataError("A step breaks its contract.", str(error), 'see docs/data.md, "a step of your own"')


def note_failure(given_up: GivenUp, failures: list[int], unit: int, message: str) -> None:
    last = failures[-MOST_IN_A_ROW:]
    if len(last) == MOST_IN_A_ROW and last == list(range(last[0], last[0] + MOST_IN_A_ROW)):
        raise DataError(
            f"A step failed on {MOST_IN_A_ROW} documents in a row.",
            message,
            "the step is broken, or its options are",
        )
    if unit in given_up.reasons:
        raise DataError(
            "A step failed outside its documents.", message, "the step is broken, or its options are"
        )
    given_up.reasons[unit] = message


def _child(task: Task, pipeline: Pipeline, given_up: GivenUp, beat: mmap.mmap) -> None:
    """Never returns. What must be said goes through `beat`, since the child's stdout is the supervisor's."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _limit_memory(pipeline.recipe.megabytes_per_worker)
        if not _from_network(task):
            sys.addaudithook(_no_network)
        perform(task, pipeline, given_up.reasons, lambda number: _write(beat, number))
        code = 0
    except UnitFailed as error:
        _write(beat, error.number, str(error))
        code = _FAILED
    except BrokenStep as error:
        _write(beat, -1, json.dumps(to_row(_broken(error))))
        code = _REFUSED
    except OwnlmError as error:
        _write(beat, -1, json.dumps(to_row(error)))
        code = _REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def die_with(parent: int) -> None:
    """This process is killed when its parent is, so that it cannot write beside the run that comes after (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _watch(pid: int, beat: mmap.mmap, pipeline: Pipeline) -> tuple[int, str]:
    """Wait for the child; kill it when a unit takes too long. Returns its status and the reason of a kill."""
    allowed = pipeline.recipe.seconds_per_document
    unit, cpu, wall = -1, 0.0, time.monotonic()
    wait = 0.001
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, ""
        now, used = _read(beat)[0], _cpu_seconds(pid)
        if now != unit:
            unit, cpu, wall = now, used, time.monotonic()
        elif unit >= 0 and (used - cpu > allowed or time.monotonic() - wall > WALL_PER_CPU * allowed):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            return status, f"took too long: more than {allowed:g} s"
        time.sleep(wait)
        wait = min(_POLL_SECONDS, wait * 2)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:  # gone, or a system without /proc: then the wall clock decides alone
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _limit_memory(megabytes: int) -> None:
    """On top of what the process has now: private writable memory (RLIMIT_DATA; mapped files do not count)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return
    now = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    limit = now + (megabytes << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _from_network(task: Task) -> bool:
    return any(str(path).startswith(("http://", "https://")) for path in (task.part or {}).get("paths", ()))


def _no_network(event: str, arguments: object) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        raise PermissionError("a worker that reads files opens no connections")


def _write(beat: mmap.mmap, unit: int, message: str = "") -> None:
    data = message.encode("utf-8", "replace")[: len(beat) - 12].decode("utf-8", "ignore").encode("utf-8")
    beat[8 : 12 + len(data)] = struct.pack("<I", len(data)) + data
    beat[:8] = struct.pack("<q", unit)


def _read(beat: mmap.mmap) -> tuple[int, str]:
    unit, size = struct.unpack("<qI", beat[:12])
    return unit, beat[12 : 12 + size].decode("utf-8", "replace")
