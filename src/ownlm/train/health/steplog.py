"""A JSON-lines file of a run with at most one line per step: a resumed or rolled-back run writes its steps anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ownlm.runtime import files


class StepLog:
    """`append` in rising steps; a step that is not above the last one removes the lines from that step on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: int | None = None  # None: the file was not looked at yet

    def append(self, step: int, facts: dict[str, Any]) -> None:
        """Raises MachineError when the disk refuses."""
        if self._last is None or step <= self._last:
            kept = [row for row in read(self.path) if row["step"] < step]
            files.write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **facts}) + "\n")
        except OSError as error:
            raise files.machine_error(error, f"writing {self.path.name}") from error
        self._last = step


def read(path: Path) -> list[dict[str, Any]]:
    """Its lines; a last one that a kill cut short is left out, and so is all of a file that is not there."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
