"""Layers cut over two processes against whole ones, and training on them; the mesh's own errors."""

from __future__ import annotations

import grid
import pytest


def test_cut_layers_give_the_whole_layers_output_and_gradients() -> None:
    for found in grid.fast()["layer tp"]:
        assert len(found) == 26
        assert max(found.values()) <= 1e-5, found


@pytest.mark.parametrize("case", ["dp", "tp"])
def test_the_mesh_trains_as_one_process(case: str) -> None:
    for found in grid.fast()[case]:
        assert found["loss"] <= 1e-5 and found["norm"] <= 1e-5 and found.get("weights", 0.0) <= 1e-5, found
    assert grid.fast()["tp"][0]["parameters"] < 0.75  # half of the blocks
    assert grid.fast()["tp"][0]["steps"] == 20


@pytest.mark.parametrize(("what", "fix"), [
    ("sizes", "dp = 2"), ("heads", "tp = 1, or 2 of them"), ("width", "tp = 1 or 7, or 48 or 50"),
    ("rows", "dp = 1 or 3, or 2 or 4"), ("mixer", "grouped-query"), ("muon", "adamw"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_would(what: str, fix: str) -> None:
    assert fix in grid.fast()["refused"][0][what]
