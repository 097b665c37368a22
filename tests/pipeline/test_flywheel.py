"""Logs to fine-tuning rows: consent decides, every line is counted, withdrawal reaches what was written."""

import json
from pathlib import Path
from typing import Any

import pytest

from ownlm.data.filters.pii import Pii
from ownlm.errors import ArtifactError, DataError
from ownlm.pipeline import flywheel
from ownlm.serve.feedback import Feedback


def rating(number: int, **changes: Any) -> dict[str, Any]:
    plain = {"id": f"chatcmpl-{number}", "question": f"What is item {number}?", "answer": f"It is {number}.",
             "rating": "up", "consent": True}  # fmt: skip
    return {**plain, **changes}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


ROWS = [
    rating(1),
    rating(2, consent=False),
    {k: v for k, v in rating(3).items() if k != "consent"},
    rating(4, consent="yes"),
    rating(5, rating="down"),
    rating(6, rating="down", correction="It is six."),
    rating(7, question="Write to jane.doe@example.org?", answer="Mail jane.doe@example.org."),
    rating(8, question=" "),
    rating(9, answer="x" * 70_000),
    rating(10),
    rating(10, rating="down"),  # a change of mind
    rating(11, question="What is item 1?", answer="It is 1."),
    rating(12),
    {"id": "chatcmpl-12", "withdraw": True},
    {"id": "chatcmpl-13", "withdraw": True},
    rating(13),  # stands after its withdrawal, is withdrawn all the same
    rating(14),
    "not json",
    "[1, 2]",
    "[" * 100_000,
    '{"rating": "up", "consent": true, "question": "q", "answer": "a"}',
    rating(15, rating="sideways"),
    rating(16, question=["a"]),
]


def test_only_consent_and_praise_become_rows_and_every_line_is_counted(tmp_path: Path) -> None:
    log, out = write(tmp_path / "log.jsonl", ROWS), tmp_path / "rows.jsonl"
    found = flywheel.harvest(log, out, withdrawn=["chatcmpl-14"])
    rows = {row["id"].removeprefix("chatcmpl-"): row for row in read(out)}
    assert list(rows) == ["1", "6", "7"]
    assert [m["role"] for m in rows["1"]["messages"]] == ["user", "assistant"]
    assert rows["6"]["messages"][1]["content"] == "It is six." and rows["6"]["corrected"]
    assert "jane" not in out.read_text() and "[EMAIL" in rows["7"]["messages"][1]["content"]
    assert found.refused == {
        "no consent": 3,
        "rated down without a correction": 2,
        "rated again later": 1,
        "question or answer is empty": 1,
        "question or answer is too long": 1,
        "the same question and answer again": 1,
        "consent withdrawn": 3,
        "not a JSON object": 3,
        "no id: consent could not be withdrawn": 1,
        "not a rating": 2,
    }
    assert found.lines == len(ROWS) == found.rows + found.withdrawals + sum(found.refused.values())
    assert sum(found.replaced.values()) == 2
    assert json.loads(flywheel.report_of(out).read_text()) == found.as_dict()


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", ROWS)
    flywheel.harvest(log, tmp_path / "a")
    flywheel.harvest(log, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_withdrawal_reaches_rows_that_were_written(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    flywheel.harvest(write(tmp_path / "log.jsonl", [rating(1), rating(2), rating(3)]), out)
    assert flywheel.forget(out, ["chatcmpl-2", "chatcmpl-9"]) == 1
    assert [row["id"] for row in read(out)] == ["chatcmpl-1", "chatcmpl-3"]
    assert flywheel.forget(out, ["chatcmpl-2"]) == 0
    out.write_text(out.read_text() + "{}\n")
    with pytest.raises(ArtifactError, match="no row"):
        flywheel.forget(out, ["chatcmpl-1"])


def test_what_the_service_writes_today_is_read_and_refused_without_consent(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append(
        {k: v for k, v in rating(1).items() if k != "consent"} | {"comment": "", "model_digest": None}
    )
    feedback.append(rating(2) | {"comment": "good", "model_digest": "abc"})
    found = flywheel.harvest(feedback.path, tmp_path / "rows.jsonl")
    assert found.refused == {"no consent": 1} and found.rows == 1
    (row,) = read(tmp_path / "rows.jsonl")
    assert row["model_digest"] == "abc" and row["time"].startswith("20")


def test_an_endless_line_is_refused_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flywheel, "MOST_LINE", 1000)
    log = write(tmp_path / "log.jsonl", [rating(1, answer="x" * 5000), rating(2)])
    found = flywheel.harvest(log, tmp_path / "rows.jsonl")
    assert (found.lines, found.rows, found.refused) == (2, 1, {"not a JSON object": 1})


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        flywheel.harvest(tmp_path / "none.jsonl", tmp_path / "rows.jsonl")
    log = write(tmp_path / "log.jsonl", [rating(1, answer="Mail jane.doe@example.org.")])
    with pytest.raises(DataError, match="must replace"):
        flywheel.harvest(log, tmp_path / "rows.jsonl", pii=Pii(action="drop"))
    assert not (tmp_path / "rows.jsonl").exists()
