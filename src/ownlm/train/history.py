"""losses.jsonl: one line per finished step, the same bytes whether or not the run was interrupted.

The file is for people and reports; the truth is the checkpoint's history tensor, from which a resume rebuilds it.
Timings are no part of it: they differ from run to run. What is not finite (the gradient norm of a step skipped for an
overflow) is null, which JSON has, as it has no infinity. A reader beside the run sees whole lines: each is one write,
and a roll-back puts a new file in the place of the old one.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ownlm.runtime import files

COLUMNS = ("loss", "grad_norm", "learning_rate", "tokens")


class History:
    """The rows of all finished steps, in memory and in `folder/losses.jsonl`."""

    def __init__(self, folder: Path, rows: Tensor | None = None, writes: bool = True) -> None:
        """rows [steps, 4] float64 from a checkpoint; lines after them in the file are replaced. writes: False on all
        but one of several processes, which keep the rows in memory only."""
        self.path = folder / "losses.jsonl"
        self.rows: list[list[float]] = [] if rows is None else rows.tolist()
        self._file: IO[str] | None = None
        if not writes:
            return
        files.write_atomic(self.path, "".join(map(self._line, range(1, len(self.rows) + 1))))
        try:
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        except OSError as error:
            raise files.machine_error(error, "opening the list of losses") from error

    def append(self, loss: float, norm: float, rate: float, new_tokens: int) -> int:
        """Add a step; returns the tokens trained on so far."""
        tokens = new_tokens + (int(self.rows[-1][3]) if self.rows else 0)
        self.rows.append([loss, norm, rate, tokens])
        if self._file is None:
            return tokens
        try:
            self._file.write(self._line(len(self.rows)))
            self._file.flush()
        except OSError as error:
            raise files.machine_error(error, "writing the list of losses") from error
        return tokens

    def tensor(self) -> Tensor:
        """[steps, 4] float64."""
        return torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(COLUMNS))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _line(self, step: int) -> str:
        row = [value if math.isfinite(value) else None for value in self.rows[step - 1]]
        facts = dict(zip(COLUMNS, row, strict=True))
        return (
            json.dumps({"step": step, **facts, "tokens": int(self.rows[step - 1][3])}, allow_nan=False) + "\n"
        )
