"""The recipes of this part run from the command line in their smallest form and leave what they promise."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

RECIPES = Path(__file__).parents[3] / "recipes"


def recipe(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe", *arguments])
    module.main()


def test_grokking_runs_and_its_two_parts_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grokking = recipe("grokking")
    shown, held = grokking.pairs(7, 0.5, 0)
    both = {tuple(row) for row in torch.cat([shown.inputs, held.inputs]).tolist()}
    assert len(both) == 49 == len(shown.inputs) + len(held.inputs)
    assert all(t == (a + b) % 7 for (a, b, _), (_, _, t) in zip(held.inputs.tolist(), held.targets.tolist(), strict=True))  # fmt: skip
    call(grokking, monkeypatch, "--p", "7", "--steps", "40", "--every", "20", "--width", "32", "--out", str(tmp_path))  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40] and rows[1]["train_loss"] < rows[0]["train_loss"]
    rows = [{"step": s, "train_accuracy": a, "heldout_accuracy": b} for s, a, b in ((1, 0.1, 0), (2, 1, 0.2), (9, 1, 1))]  # fmt: skip
    assert (grokking.known_at(rows, "train")["step"], grokking.known_at(rows, "heldout")["step"]) == (2, 9)


def test_emergence_measures_the_same_runs_in_two_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    emergence = recipe("emergence")
    batch = emergence.sums(2, 50, 1, heldout=False)
    for row, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        a, b = row[0] + 10 * row[1], row[3] + 10 * row[4]
        assert sum(digit * 10**i for i, digit in enumerate(targets[-3:])) == a + b
        assert set(targets[:-3]) == {-100}
    pairs = [{tuple(row[:5]) for row in emergence.sums(2, 500, 3, held).inputs.tolist()} for held in (False, True)]  # fmt: skip
    assert not pairs[0] & pairs[1]
    call(emergence, monkeypatch, "--digits", "1", "--widths", "16", "--steps", "2", "4", "8", "--rows", "16", "--out", str(tmp_path))  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all(0 <= r["exact_match"] <= r["digit_accuracy"] <= 1 and r["log_likelihood"] < 0 for r in rows)  # fmt: skip


def test_exact_match_is_abrupt_where_likelihood_is_not() -> None:
    emergence = recipe("emergence")
    smooth = [0.1 * i for i in range(1, 11)]
    assert emergence.abruptness(smooth) == pytest.approx(1 / 9)
    assert emergence.abruptness([q**8 for q in smooth]) > 0.5


def test_mup_transfer_trains_both_parametrisations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(recipe("mup_transfer"), monkeypatch, "--widths", "32", "64", "--rates", "1e-3", "4e-3", "--steps", "3", "--rows", "2",
         "--context", "16", "--layers", "1", "--out", str(tmp_path))  # fmt: skip
    rows = json.loads((tmp_path / "results.json").read_text())
    by = {(row["kind"], row["width"]): row["losses"] for row in rows}
    assert len(rows) == 4
    assert by["standard", 32] == by["muP", 32], "equal at the base width"
    assert by["standard", 64] != by["muP", 64]


@pytest.mark.slow
def test_kaplan_plots_climbs_fits_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    text = tmp_path / "text.txt"
    text.write_bytes(bytes((i * i) % 97 for i in range(60_000)))
    call(recipe("kaplan_plots"), monkeypatch, "--data", str(text), "--sizes", "1x16,2x16,2x32", "--tokens", "2048,4096,8192",
         "--heldout", "2048", "--out", str(tmp_path))  # fmt: skip
    printed = capsys.readouterr().out
    assert "published 0.076" in printed and "held back 2x32-8192" in printed
    assert (tmp_path / "kaplan.html").read_text().count("<svg") == 4
