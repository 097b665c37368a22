"""`ownlm scaling run|fit|predict|optimal` as one types it: a tiny ladder from a text file, and clean errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownlm.cli.scaling import app
from ownlm.errors import DataError, UsageError

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "scaling-2026-11-21.json"


def run(*arguments: str) -> str:
    found = CliRunner().invoke(app, list(arguments))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat and the dog on the log. " * 200, encoding="utf-8")
    return path


COMMON = ("context=32", "batch_tokens=128", "heldout_tokens=512", "train={threads: 1, precision: float32}")


def test_a_ladder_from_a_text_file_and_again_without_work(text: Path, tmp_path: Path) -> None:
    command = ("run", "--data", str(text), "--out", str(tmp_path), "--sizes", "1x16,2x16", "--tokens", "256,5e2", *COMMON, "--json")  # fmt: skip
    first = json.loads(run(*command))["runs"]
    assert sorted(r["name"] for r in first) == ["1x16-256", "1x16-384", "2x16-256", "2x16-384"]
    written = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/result.json")}
    assert json.loads(run(*command))["runs"] == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/result.json")} == written
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4
    assert json.loads((tmp_path / "ladder.json").read_text())["sizes"] == ["1x16", "2x16"]


def test_a_dry_run_trains_nothing(text: Path, tmp_path: Path) -> None:
    command = ("run", "--data", str(text), "--out", str(tmp_path / "none"), "--sizes", "1x16,2x64", "--tokens", "256", *COMMON)  # fmt: skip
    assert "2x64-256" in run(*command, "--dry-run")
    assert "2x64-256" not in run(*command, "--dry-run", "--budget", "1e8", "--json")
    assert not (tmp_path / "none").exists()


def test_settings_come_from_a_file(text: Path, tmp_path: Path) -> None:
    file = tmp_path / "ladder.yaml"
    file.write_text("sizes: ['1x16']\ntokens: [256]\ncontext: 32\nbatch_tokens: 128\n", encoding="utf-8")
    out = run("run", "--data", str(text), "--out", str(tmp_path), "--config", str(file), "--dry-run", "--json")  # fmt: skip
    assert [r["name"] for r in json.loads(out)["runs"]] == ["1x16-256"]
    file.write_text("sizs: ['1x16']\n", encoding="utf-8")
    with pytest.raises(UsageError, match="sizes"):
        run("run", "--data", str(text), "--out", str(tmp_path), "--config", str(file), "--dry-run")


def test_fit_prints_exponents_beside_kaplans_and_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    printed = run("fit", str(RESULTS), "--samples", "20", "--report", str(page))
    assert "0.076" in printed and "0.095" in printed and "Chinchilla" in printed
    assert page.read_text(encoding="utf-8").count("<svg") == 4


def test_predict_says_an_interval_and_how_far_it_looks() -> None:
    found = json.loads(run("predict", str(RESULTS), "--params", "2e6", "--tokens", "1e6", "--samples", "20", "--json"))  # fmt: skip
    assert found["low"] < found["loss"] < found["high"] and found["reach"] > 1
    assert "interval" in run("predict", str(RESULTS), "--params", "2e6", "--tokens", "1e6", "--samples", "20")


def test_optimal_lists_laws_text_that_repeats_and_inference() -> None:
    rows = json.loads(run("optimal", "--budget", "5.76e23", "--unique", "1e11", "--inference", "2e12", "--json"))["optima"]  # fmt: skip
    assert rows[0]["parameters"] == pytest.approx(69.3e9, rel=0.01)
    assert len(rows) == 1 + 2 * 3
    assert "6.93e+10" in run("optimal", "--budget", "5.76e23")


def test_mistakes_are_told_cleanly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results"):
        run("fit", str(tmp_path))
    with pytest.raises(DataError, match="no text"):
        run("run", "--data", str(tmp_path / "none"), "--out", str(tmp_path))
    with pytest.raises(UsageError, match="positive"):
        run("optimal", "--budget", "-1")
