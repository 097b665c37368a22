"""A run as the page needs it: JSON, thinned so that a run of any length draws fast and no spike is lost.

Thinning keeps, of each of `BUCKETS` equal stretches of steps, the rows with the lowest and the highest loss, gradient
norm, speed and rate: at least one stretch per pixel, so the drawn envelope is that of all rows. A second set of
stretches, equal on a logarithmic axis, does the same for the beginning. Smoothed losses are computed from all rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.train.runs import HALF_LIVES, Run

BUCKETS, LOG_BUCKETS = 1000, 250
NUM_EVENTS, NUM_GRADIENTS = 400, 200
_EXTREMES = ("loss", "grad_norm", "tokens_per_second", "learning_rate")
_COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second", "mfu", "elapsed")


def thinned(
    columns: Sequence[Sequence[float]], buckets: int = BUCKETS, log_buckets: int = LOG_BUCKETS
) -> NDArray[np.int64]:
    """Row numbers, rising, that keep the first, last and extreme rows of every stretch, and each that is not finite
    as long as those are no more than the stretches."""
    n = len(columns[0])
    if n <= 2 * buckets:
        return np.arange(n)
    linear = np.linspace(0, n, buckets + 1).astype(np.int64)
    early = np.unique(np.geomspace(1, n, log_buckets + 1).astype(np.int64)) - 1
    chosen: set[int] = {0, n - 1}
    for column in columns:
        values = np.asarray(column, dtype=np.float64)
        finite = np.isfinite(values)
        chosen.update(np.flatnonzero(~finite)[:buckets].tolist())
        values = np.where(finite, values, np.median(values[finite]) if finite.any() else 0.0)
        for edges in (linear, early):
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                stretch = values[start:end]
                chosen.add(start + int(stretch.argmin()))
                chosen.add(start + int(stretch.argmax()))
    return np.array(sorted(chosen), dtype=np.int64)


def of(run: Run) -> dict[str, Any]:
    """Everything about a run but the moment (`moment`)."""
    rows = thinned([run.steps[name] for name in _EXTREMES]).tolist()
    columns = {name: _picked(run.steps[name], rows) for name in _COLUMNS}
    columns |= {f"smooth_{life}": _picked(run.smooth[life], rows) for life in HALF_LIVES}
    facts = run.facts
    return {
        "name": run.name, "folder": str(run.folder), "id": facts.get("id"), "note": facts.get("note", ""),
        "num_steps": run.num_steps, "num_rows": len(run.steps["step"]), "columns": columns,
        "half_lives": list(HALF_LIVES), "replaced": run.replaced, "damaged": run.damaged,
        "last": {name: _short(run.steps[name][-1]) if run.steps[name] else None for name in _COLUMNS},
        "validation": _measured(run, "validation"), "benchmark": _measured(run, "benchmark"),
        "gradients": _gradients(run), "checkpoints": [row["step"] for row in run.measured["checkpoint"]],
        "events": run.events[-NUM_EVENTS:], "num_events": len(run.events), "config": facts.get("config", {}),
        "data": facts.get("data", {}), "git": facts.get("git", {}), "environment": facts.get("environment", {}),
        "started": facts.get("started"), "ended": facts.get("ended"), "sessions": facts.get("sessions", []),
    }  # fmt: skip


def moment(run: Run) -> dict[str, Any]:
    """What changes by itself as time passes."""
    status = run.status
    running = status == "running"
    due = run.next_checkpoint() if running else None
    silent = time.time() - run.steps["time"][-1] if running and run.steps["time"] else None
    return {
        "status": status, "why": run.facts.get("why", ""), "wall": run.wall, "eta": run.eta if running else None,
        "next_checkpoint": due and {"step": due[0], "seconds": due[1]}, "silent": silent,
    }  # fmt: skip


def _picked(column: Sequence[float], rows: Sequence[int]) -> list[Any]:
    return [_short(column[row]) for row in rows]


def _short(value: float) -> Any:
    """Six digits are more than a screen shows; what is no number becomes null."""
    if isinstance(value, int):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _measured(run: Run, kind: str) -> list[dict[str, Any]]:
    """step, and each named number."""
    rows = []
    for row in run.measured[kind]:
        values = {key: _short(value) for key, value in row.items() if key not in ("kind", "step", "time") and isinstance(value, int | float)}  # fmt: skip
        rows.append({"step": row["step"], "values": values})
    return rows


def _gradients(run: Run) -> dict[str, Any]:
    """{steps [S], layers [L], values [L][S]}; of stretches of steps the largest norm."""
    rows = [row for row in run.measured["gradients"] if isinstance(row.get("norms"), dict)]
    layers = list(dict.fromkeys(name for row in rows for name in row["norms"]))
    edges = np.linspace(0, len(rows), min(len(rows), NUM_GRADIENTS) + 1).astype(int).tolist()
    groups = [rows[start:end] for start, end in pairwise(edges)]

    def largest(layer: str, group: Sequence[dict[str, Any]]) -> Any:
        found = [row["norms"][layer] for row in group if isinstance(row["norms"].get(layer), int | float)]
        finite = [value for value in found if math.isfinite(value)]
        return _short(max(finite)) if finite and len(finite) == len(found) else None

    return {"steps": [group[-1]["step"] for group in groups], "layers": layers,
            "values": [[largest(layer, group) for group in groups] for layer in layers]}  # fmt: skip
