"""Experts on two processes against all of them on one, and training on them."""

from __future__ import annotations

import grid


def test_a_mixture_on_two_processes_gives_the_output_and_gradients_of_one() -> None:
    for found in grid.fast()["layer ep"]:
        assert len(found) == 26
        assert max(map(abs, found.values())) <= 1e-5, found


def test_training_with_experts_elsewhere_is_training_with_all() -> None:
    for found in grid.fast()["ep"]:
        assert found["loss"] <= 1e-5 and found["norm"] <= 1e-5 and found.get("weights", 0.0) <= 1e-5, found
        assert found["parameters"] < 0.8


def test_experts_that_cannot_be_shared_out() -> None:
    assert "ep = 1 or 3, or 2 or 4" in grid.fast()["refused"][0]["experts"]
