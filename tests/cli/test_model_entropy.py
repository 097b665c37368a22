"""`ownlm model entropy`: the curve from 0 to log n, its picture, what it refuses."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ownlm.cli.model import app
from ownlm.errors import UsageError

RUNNER = CliRunner()


def run(*arguments: str) -> str:
    result = RUNNER.invoke(app, ["entropy", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def curve(*arguments: str) -> tuple[dict[str, Any], list[float]]:
    found = json.loads(run(*arguments, "--json"))
    return found, [row["entropy_nats"] for row in found["curve"]]


@pytest.mark.parametrize("keys", [2, 33])
def test_it_rises_from_zero_to_log_n(keys: int) -> None:
    found, nats = curve("--keys", str(keys), "--seed", "3", "--temperature", "1000", "--temperature", "0.00001",
                        "--temperature", "1", "--temperature", "0.3")  # fmt: skip
    assert [row["temperature"] for row in found["curve"]] == [0.00001, 0.3, 1.0, 1000.0]
    assert all(a < b for a, b in pairwise(nats))
    assert nats[0] == pytest.approx(0, abs=1e-3)
    assert nats[-1] == pytest.approx(math.log(keys), abs=1e-4)
    assert found["log_n"] == math.log(keys)


def test_given_scores_by_hand() -> None:
    _, (found,) = curve("--scores", "0", "--scores", "2", "--temperature", "2")
    p = 1 / (1 + math.e)
    assert found == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert curve("--scores", "7", "--temperature", "1")[1] == [0.0]


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = run("--out", str(tmp_path / "e.svg"), "--keys", "8")
    assert "8 keys: log n = 2.0794" in shown and str(tmp_path / "e.svg") in shown.replace("\n", "")
    assert (tmp_path / "e.svg").read_bytes().startswith(b"<?xml")
    assert run("--keys", "8") == run("--keys", "8") != run("--keys", "8", "--seed", "1")


@pytest.mark.parametrize("wrong", [["--temperature", "0"], ["--temperature", "nan"], ["--scores", "inf"], ["--out", "x.gif"]])  # fmt: skip
def test_what_it_refuses(wrong: list[str]) -> None:
    with pytest.raises(UsageError):
        run(*wrong)
