"""The commands of cli/attribute.py that need no build."""

import json
from pathlib import Path

from typer.testing import CliRunner

from ownlm.cli import attribute
from ownlm.errors import DataError, UsageError


def row(number: int, **changes) -> str:
    plain = {
        "id": f"r{number}",
        "question": f"What is {number}?",
        "answer": "A number.",
        "rating": "up",
        "consent": True,
    }
    return json.dumps({**plain, **changes}) + "\n"


def test_flywheel_then_forget(tmp_path: Path) -> None:
    log, out, ids = tmp_path / "log.jsonl", tmp_path / "rows.jsonl", tmp_path / "ids.txt"
    log.write_text(row(1) + row(2, consent=False) + row(3) + row(4))
    ids.write_text("r4\n\n")
    found = CliRunner().invoke(
        attribute.app, ["flywheel", str(log), "--out", str(out), "--withdrawn", str(ids), "--json"]
    )
    facts = json.loads(found.output)
    assert facts["rows"] == 2 and facts["refused"] == {"no consent": 1, "consent withdrawn": 1}
    shown = CliRunner().invoke(attribute.app, ["flywheel", str(log), "--out", str(out)])
    assert "3 rows of 4 lines" in shown.output and "no consent" in shown.output
    ids.write_text("r1\nr9\n")
    assert "1 rows removed" in CliRunner().invoke(attribute.app, ["forget", str(out), str(ids)]).output
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["r3", "r4"]


def test_mistakes(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(row(1))
    asked = ["flywheel", str(log), "--out", str(tmp_path / "o"), "--withdrawn", str(tmp_path / "none")]
    assert isinstance(CliRunner().invoke(attribute.app, asked).exception, DataError)
    asked = ["attribute", str(tmp_path), "an answer", "--method", "guess"]
    assert isinstance(CliRunner().invoke(attribute.app, asked).exception, UsageError)
