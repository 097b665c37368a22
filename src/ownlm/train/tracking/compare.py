"""Two or more runs side by side: what was different, and which was lower after equal steps, tokens and time."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ownlm.errors import UsageError
from ownlm.train.runs import Run

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the shortest run, where losses are compared."""
SMOOTH = 20
"""Half-life in steps of the loss that is compared: one step's loss is mostly noise."""
ABSENT = "(absent)"


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """JSON values: `runs` (where each stands), `settings`, `data`, `code`, `environment` (only what differs; per run
    a value), `losses` (axis -> points {at, losses, lowest}), `measured` (name -> best and last per run).

    Raises UsageError for fewer than two runs.
    """
    if len(runs) < 2:
        raise UsageError("There is nothing to compare.", f"{len(runs)} run", "give two or more run folders")
    configs = [run.facts.get("config", {}) for run in runs]
    return {
        "runs": [_standing(run) for run in runs],
        "settings": [
            row | {"sources": [config.get(row["key"], {}).get("source", "") for config in configs]}
            for row in _differences([{key: entry["value"] for key, entry in c.items()} for c in configs])
        ],
        "data": _differences([run.facts.get("data", {}) for run in runs]),
        "code": _differences([_code(run) for run in runs]),
        "environment": _differences([run.facts.get("environment", {}) for run in runs]),
        "half_life": SMOOTH,
        "losses": {axis: _losses(runs, axis) for axis in ("step", "tokens", "elapsed")},
        "measured": _measured(runs),
    }


def _standing(run: Run) -> dict[str, Any]:
    steps = run.steps
    return {
        "name": run.name, "folder": str(run.folder), "id": run.facts.get("id"), "status": run.status, "step": run.last_step,
        "num_steps": run.num_steps, "tokens": int(steps["tokens"][-1]) if steps["tokens"] else 0, "seconds": run.wall,
        "loss": _finite(run.smooth[SMOOTH][-1]) if steps["step"] else None, "num_events": len(run.events),
        "replaced": run.replaced, "damaged": run.damaged,
    }  # fmt: skip


def _code(run: Run) -> dict[str, Any]:
    git = run.facts.get("git", {})
    return {key: git[key] for key in ("commit", "branch", "dirty", "why") if key in git}


def _differences(tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """{key, values} of the keys whose values are not all the same; compared as JSON, so that 1 is not true."""
    rows = []
    for key in sorted({key for table in tables for key in table}):
        values = [table.get(key, ABSENT) for table in tables]
        if len({json.dumps(value, sort_keys=True) for value in values}) > 1:
            rows.append({"key": key, "values": values})
    return rows


def _losses(runs: Sequence[Run], axis: str) -> list[dict[str, Any]]:
    """The smoothed loss of every run at the last step that is not past each point."""
    if any(not run.steps[axis] for run in runs):
        return []
    end = min(run.steps[axis][-1] for run in runs)
    points = []
    for share in SHARES:
        at = round(end * share) if axis != "elapsed" else end * share
        losses: list[float | None] = []
        for run in runs:
            row = bisect_right(run.steps[axis], at) - 1
            losses.append(_finite(run.smooth[SMOOTH][row]) if row >= 0 else None)
        known = [loss for loss in losses if loss is not None]
        lowest = losses.index(min(known)) if len(known) == len(losses) and len(set(known)) > 1 else None
        points.append({"at": at, "losses": losses, "lowest": lowest})
    return points


def _measured(runs: Sequence[Run]) -> dict[str, list[dict[str, Any] | None]]:
    """ "validation loss" -> per run {best, best_step, last, last_step}. Best is the lowest of a loss, perplexity or
    bits; of everything else there is only the last, as nothing says which way is better."""
    names = dict.fromkeys(
        (kind, name) for run in runs for kind in ("validation", "benchmark") for row in run.measured[kind]
        for name, value in row.items() if name not in ("kind", "step", "time") and isinstance(value, int | float)
    )  # fmt: skip
    found: dict[str, list[dict[str, Any] | None]] = {}
    for kind, name in names:
        column: list[dict[str, Any] | None] = []
        for run in runs:
            rows = [(row[name], row["step"]) for row in run.measured[kind]
                    if isinstance(row.get(name), int | float) and math.isfinite(row[name])]  # fmt: skip
            if not rows:
                column.append(None)
                continue
            facts = {"last": rows[-1][0], "last_step": rows[-1][1]}
            if any(word in name for word in ("loss", "perplexity", "bits")):
                facts |= {"best": min(rows)[0], "best_step": min(rows)[1]}
            column.append(facts)
        found[f"{kind} {name}"] = column
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
