"""TensorBoard event files, by the tensorboard package alone (no TensorFlow, no torch).

A session begins with a START mark at its first step: TensorBoard then drops what an earlier session had written from
that step on, so a resumed run shows one line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import MissingDependency


class TensorBoard:
    """Writes folder/tensorboard; look at it with `tensorboard --logdir`."""

    def __init__(self, folder: Path, run_id: str, name: str) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2  # type: ignore[import-not-found, import-untyped, unused-ignore]
            from tensorboard.summary.writer import event_file_writer  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise MissingDependency("TensorBoard is not installed.", str(error), "pip install 'ownlm[tensorboard]'") from error  # fmt: skip
        self._event, self._summary = event_pb2, summary_pb2
        self._tensor, self._types = tensor_pb2, types_pb2
        self._writer = event_file_writer.EventFileWriter(str(folder / "tensorboard"))
        self._last: int | None = None

    def start(self, config: Mapping[str, Any]) -> None:
        table = "\n".join(["|setting|value|", "|---|---|", *(f"|{_cell(key)}|{_cell(json.dumps(value))}|" for key, value in config.items())])  # fmt: skip
        text = self._summary.SummaryMetadata(plugin_data=self._summary.SummaryMetadata.PluginData(plugin_name="text"))  # fmt: skip
        tensor = self._tensor.TensorProto(dtype=self._types.DT_STRING, string_val=[table.encode()])
        self._add(0, self._summary.Summary.Value(tag="config", metadata=text, tensor=tensor))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._last is None or step < self._last:
            mark = self._event.SessionLog(status=self._event.SessionLog.START)
            self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, session_log=mark))
        self._last = step
        self._add(step, *(self._summary.Summary.Value(tag=key, simple_value=value) for key, value in values.items()))  # fmt: skip

    def _add(self, step: int, *values: Any) -> None:
        summary = self._summary.Summary(value=list(values))
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, summary=summary))

    def finish(self, status: str) -> None:
        self._writer.close()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
