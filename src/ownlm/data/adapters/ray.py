"""Tasks on a Ray cluster. Every node must see the same folders: input, output and the user's own step files.

Only JSON text crosses between processes. An actor holds one supervisor (flow/worker.py), which forks the guarded
children, so that a Ray worker itself never forks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ownlm.data.flow.recipe import Pipeline, from_dict
from ownlm.data.flow.task import Task
from ownlm.data.flow.workers import Supervisor
from ownlm.errors import MachineError, MissingDependency, OwnlmError, from_row, to_row


class RayWorkers:
    """address: of a running cluster; None starts one on this machine. count: actors; None: one per processor."""

    def __init__(self, address: str | None = None, count: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingDependency(
                "Ray is not installed.", str(error), "pip install 'ownlm[ray]'"
            ) from error
        self._ray, self._address, self._count = ray, address, count

    def run(self, pipeline: Pipeline, tasks: Sequence[Task]) -> Iterator[Task]:
        ray = self._ray
        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address=self._address, num_cpus=self._count if self._address is None else None,
                         include_dashboard=False, log_to_driver=False, configure_logging=False)  # fmt: skip
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise MachineError(
                    "Ray cannot be reached.", f"{self._address}: {error}", "start it with `ray start --head`"
                ) from error
        try:
            count = self._count or max(1, int(ray.cluster_resources().get("CPU", 1)))
            yield from self._spread(pipeline, tasks, min(count, len(tasks)))
        finally:
            if started:
                ray.shutdown()

    def _spread(self, pipeline: Pipeline, tasks: Sequence[Task], count: int) -> Iterator[Task]:
        actor = self._ray.remote(num_cpus=1)(_Actor)
        line = json.dumps(pipeline.as_dict())
        waiting = list(reversed(tasks))
        busy: dict[Any, tuple[Any, Task]] = {}

        def begin(worker: Any) -> None:
            task = waiting.pop()
            busy[worker.perform.remote(json.dumps(asdict(task)))] = worker, task

        for worker in [actor.remote(line) for _ in range(count)]:
            begin(worker)
        while busy:
            (ready,), _ = self._ray.wait(list(busy), num_returns=1)
            worker, task = busy.pop(ready)
            answer = json.loads(self._ray.get(ready))
            if "error" in answer:
                raise from_row(answer["error"])
            yield task
            if waiting:
                begin(worker)


class _Actor:
    def __init__(self, pipeline: str) -> None:
        self._supervisor = Supervisor(from_dict(json.loads(pipeline)))

    def perform(self, task: str) -> str:
        try:
            self._supervisor.end(self._supervisor.begin(Task(**json.loads(task))))
        except OwnlmError as error:
            return json.dumps({"error": to_row(error)})
        return json.dumps({})
