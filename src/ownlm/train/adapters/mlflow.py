"""MLflow, in a store on this machine unless MLFLOW_TRACKING_URI names another."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import MissingDependency

_SECONDS, _METRICS = 2.0, 900  # a batch is sent when it is that old or that large; MLflow takes 1,000 at once
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow:
    """Writes folder/mlflow.db (SQLite); look at it with `mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db`.

    The experiment is MLFLOW_EXPERIMENT_NAME, or "ownlm". A resumed run is found again by its tag `ownlm.run`.
    Metrics are sent in batches, every two seconds: a transaction for each step would cost more than the step.
    """

    def __init__(self, folder: Path, run_id: str, name: str) -> None:
        try:
            from mlflow.entities import Metric, Param  # type: ignore[import-not-found, unused-ignore]
            from mlflow.tracking import MlflowClient  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise MissingDependency("MLflow is not installed.", str(error), "pip install 'ownlm[mlflow]'") from error  # fmt: skip
        self._metric, self._param, self._connect = Metric, Param, MlflowClient
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._ownlm_id, self._name = run_id, name
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def start(self, config: Mapping[str, Any]) -> None:
        self._client: Any = self._connect(tracking_uri=self._uri)
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ownlm")
        experiment = self._client.get_experiment_by_name(title)
        number = experiment.experiment_id if experiment else self._client.create_experiment(title)
        found = self._client.search_runs([number], f"tags.`ownlm.run` = '{self._ownlm_id}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.set_terminated(self._run, status="RUNNING")
            return  # MLflow's parameters cannot change; what did is in run.json
        made = self._client.create_run(number, run_name=self._name, tags={"ownlm.run": self._ownlm_id})
        self._run = made.info.run_id
        params = [self._param(key, _short(json.dumps(value))) for key, value in config.items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(self._run, params=params[start : start + 100])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        self._waiting += [self._metric(key, value, now, step) for key, value in values.items()]
        if len(self._waiting) >= _METRICS or time.monotonic() - self._sent > _SECONDS:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            part = self._waiting[:_METRICS]
            self._client.log_batch(self._run, metrics=part)
            del self._waiting[: len(part)]
        self._sent = time.monotonic()

    def finish(self, status: str) -> None:
        self._send()
        self._client.set_terminated(self._run, status=_STATUS[status])


def _short(text: str) -> str:
    """MLflow takes 6,000 characters; what is cut says so."""
    return text if len(text) <= 6000 else text[:5900] + " ... cut here, whole in run.json"
