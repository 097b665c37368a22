"""Where tasks run: in this process, in local worker processes, or on a Ray cluster. The files are the same."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from ownlm.data.flow.guard import run_inline
from ownlm.data.flow.recipe import Pipeline
from ownlm.data.flow.task import Task, to_line
from ownlm.errors import MachineError, from_row


class Workers(Protocol):
    def run(self, pipeline: Pipeline, tasks: Sequence[Task]) -> Iterator[Task]:
        """Every task, in the order in which they end. Raises what a task raises; the others are stopped then."""
        ...


class Inline:
    """One after the other in this process, without limits of time and memory."""

    def run(self, pipeline: Pipeline, tasks: Sequence[Task]) -> Iterator[Task]:
        for task in tasks:
            run_inline(task, pipeline)
            yield task


class LocalWorkers:
    """`count` supervisors, each a process of its own with one guarded child (worker.py)."""

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, pipeline: Pipeline, tasks: Sequence[Task]) -> Iterator[Task]:
        waiting = list(reversed(tasks))
        busy: dict[int, tuple[Supervisor, Task]] = {}
        selector = selectors.DefaultSelector()
        supervisors = [Supervisor(pipeline) for _ in range(min(self._count, len(tasks)))]
        try:
            for supervisor in supervisors:
                selector.register(supervisor.output, selectors.EVENT_READ, supervisor)
                busy[supervisor.output] = supervisor, supervisor.begin(waiting.pop())
            while busy:
                for key, _ in selector.select():
                    supervisor, task = busy.pop(key.fd)
                    supervisor.end(task)
                    yield task
                    if waiting:
                        busy[key.fd] = supervisor, supervisor.begin(waiting.pop())
        finally:
            selector.close()
            for supervisor in supervisors:
                supervisor.kill()


class Supervisor:
    """One `ownlm.data.flow.worker` process."""

    def __init__(self, pipeline: Pipeline) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ownlm.data.flow.worker", str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None, "both are pipes"
        self._input, self._output = self._process.stdin, self._process.stdout
        self.output = self._output.fileno()
        self._send(json.dumps(pipeline.as_dict()))

    def begin(self, task: Task) -> Task:
        self._send(to_line(task))
        return task

    def end(self, task: Task) -> None:
        """The answer of the task; raises what it says."""
        line = self._output.readline()
        if not line:
            code = self._process.wait()
            raise MachineError(
                "A worker process ended early.",
                f"task {task.number}, exit {code}",
                "run the same command again: it goes on",
            )
        answer = json.loads(line)
        if "error" in answer:
            raise from_row(answer["error"])

    def kill(self) -> None:
        """Its child goes with it."""
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # `end` reports how it ended
            self._input.write(line.encode("utf-8") + b"\n")
