"""Two ways to share a model out at a time, with four processes; and checkpoints that go from one mesh to another."""

from __future__ import annotations

import json
from pathlib import Path

import grid
import pytest

PAIRS = [
    {"sizes": {"dp": 2, "tp": 2}, "micro": 2, "steps": 6},
    {"sizes": {"dp": 2, "pp": 2}, "steps": 6},
    {"sizes": {"pp": 2, "tp": 2}, "steps": 6},
    {"sizes": {"dp": 2, "cp": 2}, "micro": 2, "steps": 6},
    {"sizes": {"cp": 2, "tp": 2}, "micro": 2, "steps": 6},
    {"sizes": {"pp": 2, "cp": 2}, "steps": 6},
    {"sizes": {"dp": 2, "ep": 2}, "model": "moe", "steps": 4},
    {"sizes": {"tp": 2, "ep": 2}, "model": "moe", "steps": 4},
    {"sizes": {"pp": 4}, "layers": 4, "schedule": "1f1b", "steps": 4},
]


@pytest.mark.slow
def test_pairs_of_axes_train_as_one_process(tmp_path: Path) -> None:
    for found in grid.launch("runs.py", 4, tmp_path, json.dumps(PAIRS)):
        for case, result in zip(PAIRS, found["cases"], strict=True):
            assert result["loss"] <= 1e-5 and result["norm"] <= 1e-5, (case, result)
            assert result.get("weights", 0.0) <= 1e-5, (case, result)


@pytest.mark.slow
def test_a_run_goes_on_from_a_checkpoint_on_another_mesh(tmp_path: Path) -> None:
    """pp 2 writes after step 4, tp 2 goes on to step 8, one process to step 12; all steps are one undisturbed run's."""
    for found in grid.launch(
        "runs.py", 2, tmp_path, json.dumps([{"check": "moved", "folder": str(tmp_path)}])
    ):
        result = found["cases"][0]
        assert result["steps"] == [4, 4, 4]
        assert result["loss"] <= 1e-5, result
