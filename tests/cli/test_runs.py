"""Every command of `ownlm runs` as a stranger would use it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "train" / "tracking"))

import planted

from ownlm.cli.runs import app
from ownlm.cli.runs_view import curve, sparkline, stretches
from ownlm.errors import ArtifactError, UsageError
from ownlm.train.tracking.log import RunLog

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    """stdout of a command; its error is raised."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "110"})
    if result.exception is not None and not (
        isinstance(result.exception, SystemExit) and not result.exit_code
    ):
        raise result.exception
    return result.stdout


def parsed(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    assert found["version"]
    return found


@pytest.fixture
def two(tmp_path: Path) -> Path:
    planted.write(tmp_path / "runs/slow", steps=40, data={"shards": "ab" * 32})
    planted.write(tmp_path / "runs/fast", steps=60, shift=-0.25, config=planted.settings(learning_rate=0.5))
    return tmp_path / "runs"


@pytest.mark.parametrize("command", ["list", "show", "compare", "watch", "page", "report"])
def test_help_has_an_example_and_exit_codes(command):
    text = run(command, "--help")
    assert f"ownlm runs {command}" in text and "Exit codes:" in text


def test_list_finds_all_below(two):
    text = run("list", two)
    assert "40/100" in text and "60/100" in text and text.index("fast") < text.index("slow")
    rows = parsed("list", two)["runs"]
    assert [(row["name"], row["status"], row["last"]["step"]) for row in rows] == [("fast", "finished", 60), ("slow", "finished", 40)]  # fmt: skip
    with pytest.raises(ArtifactError):
        run("list", two / "slow" / "checkpoints")


def test_show_tells_numbers_events_and_sources(two):
    with RunLog(two / "slow", planted.settings()) as log:
        log.step(planted.record(41, loss=9.0, event="a spike\x1b[31m [bold]here[/bold]"))
        log.validation(41, loss=2.125)
    text = run("show", two / "slow", "--settings")
    assert (
        "41 of 100" in text
        and "2.125" in text
        and "\\x1b[31m [bold]here[/bold]" in text
        and "\x1b" not in text
    )
    assert "data shards" not in text, "this session named none"
    assert any(line.split() == ["clip", "1.0", "default"] for line in text.splitlines())
    facts = parsed("show", two / "slow")
    assert facts["best_validation"] == {"step": 41, "loss": 2.125}
    assert facts["config"]["num_steps"] == {"value": 100, "source": "caller"}


def test_compare_names_the_planted_differences(two, tmp_path):
    chart = tmp_path / "chart.html"
    text = run("compare", two, "--html", chart)
    assert "settings: 1 different" in text and "learning_rate" in text and "0.5  (caller)" in text
    assert "data: 1 different" in text and "code: the same" in text
    page = chart.read_text()
    assert '"fast"' in page and '"slow"' in page
    facts = parsed("compare", two)
    assert [row["key"] for row in facts["settings"]] == ["learning_rate"]
    assert {point["lowest"] for point in facts["losses"]["step"]} == {0}
    with pytest.raises(UsageError):
        run("compare", two / "slow")


def test_report_is_written_beside_the_run(two):
    assert parsed("report", two / "slow")["report"] == str(two / "slow" / "report.html")
    assert "<!doctype html>" in (two / "slow" / "report.html").read_text()


def test_watch_prints_lines_where_there_is_no_terminal(two):
    text = run("watch", two)
    assert [line.split("  ")[:3] for line in text.splitlines()] == [
        ["fast", "finished", "step 60/100"], ["slow", "finished", "step 40/100"]
    ]  # fmt: skip
    with RunLog(two / "slow", planted.settings()) as log:
        log.step(planted.record(41))
        log.step(planted.record(42))
        assert "running" in run("watch", two / "slow", "--once") and "ETA" in run(
            "watch", two / "slow", "--once"
        )


def test_the_page_is_served_by_the_command(two):
    script = "from ownlm.cli.runs import app; app()"
    server = subprocess.Popen(
        [sys.executable, "-c", script, "page", str(two)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip()
        with urllib.request.urlopen(url + "data.json", timeout=20) as answer:
            assert len(json.load(answer)["runs"]) == 2
    finally:
        server.terminate()
        server.wait()


def test_reading_runs_needs_no_torch():
    script = "import sys; import ownlm.cli.runs, ownlm.cli.runs_view, ownlm.train.page.server, ownlm.train.page.report, ownlm.train.tracking.compare; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_one_spike_in_ten_thousand_steps_shows_in_the_terminal():
    values = [1.0] * 10_000
    values[7777] = 5.0
    assert sparkline(values, 40) == "▁" * 31 + "█" + "▁" * 8
    lines = curve(values, 40, 5)
    assert [i for i, c in enumerate(lines[0]) if c != "⠀"] == [31] and all(len(line) == 40 for line in lines)
    assert all(c != "⠀" for c in lines[-1])
    assert stretches([2.0, float("nan"), 1.0], 1) == [(1.0, 2.0)] and curve([], 3, 1) == ["   "]
    assert len(curve([1.0, 2.0], 30, 2)[0]) == 30 and "⠀" not in curve([1.0], 5, 1)[0]
