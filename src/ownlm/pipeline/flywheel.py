"""Production logs become fine-tuning data: what people allowed to be used and found good, and nothing else.

A log is JSON lines, one rating of an answer each (what the service writes to feedback.jsonl, and two fields more):

    {"id": "chatcmpl-1", "time": "2026-11-21T10:00:00.000+00:00", "question": "...", "answer": "...",
     "rating": "up" | "down", "consent": true, "correction": "a better answer, or nothing"}
    {"id": "chatcmpl-1", "withdraw": true}

The last rating of an id counts; a withdrawal counts wherever it stands. A row is made of a rating with consent that is
up, or that has a correction, which then is the answer. Consent is the JSON value true: a missing field is none. Personal
data are replaced by placeholders in question and answer alike (data/filters/pii.py). Every line of the log is counted
once: as a row or under the reason for which it is none. Rows keep the id, so that `forget` can take them out of a file
that was written before the consent was withdrawn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.data.filters.pii import Pii
from ownlm.data.flow.step import Note, run_alone
from ownlm.errors import ArtifactError, DataError
from ownlm.records import Document
from ownlm.runtime.files import open_atomic, write_json

MOST_CHARACTERS = 65_536  # of a question or an answer
MOST_LINE = 4 << 20  # bytes; a longer line is cut, and then no JSON
REPORT = ".report.json"


@dataclass(frozen=True, slots=True)
class Rating:
    """One usable line of a log."""

    id: str
    question: str
    answer: str
    up: bool
    consent: bool
    correction: str = ""
    time: str = ""
    model_digest: str = ""


@dataclass(frozen=True, slots=True)
class Harvest:
    """lines = rows + sum(refused.values()) + withdrawals: nothing is lost in between."""

    lines: int
    rows: int
    withdrawals: int  # lines that withdraw
    refused: Mapping[str, int]
    replaced: Mapping[str, int]  # personal data replaced, by kind

    def as_dict(self) -> dict[str, Any]:
        return {"lines": self.lines, "rows": self.rows, "withdrawals": self.withdrawals,
                "refused": dict(sorted(self.refused.items())), "replaced": dict(sorted(self.replaced.items()))}  # fmt: skip


def harvest(log: Path, out: Path, withdrawn: Iterable[str] = (), pii: Pii | None = None) -> Harvest:
    """Write the `messages` rows of a log to `out` (JSONL, whole or not at all), and the counts to out + .report.json.

    `withdrawn`: ids to leave out besides those that the log itself withdraws. Reads the log twice and holds its ids.
    Raises DataError when the log cannot be read. The same log gives the same bytes.
    """
    redact = pii or Pii()
    gone, last, withdrawals = _survey(log, withdrawn)
    refused: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    lines = rows = 0
    with open_atomic(out) as file:
        for number, item in _lines(log):
            lines += 1
            if not isinstance(item, Rating):
                refused[item] += item != WITHDRAWAL
                continue
            reason = _refusal(item, gone, last[item.id] == number)
            question, answer = item.question.strip(), (item.correction or item.answer).strip()
            if not reason and (question, answer) in seen:
                reason = "the same question and answer again"
            if reason:
                refused[reason] += 1
                continue
            seen.add((question, answer))
            row = {"id": item.id, "messages": [
                {"role": "user", "content": _redacted(question, redact, replaced)},
                {"role": "assistant", "content": _redacted(answer, redact, replaced)}],
                "source": "log", "corrected": bool(item.correction), "time": item.time,
                "model_digest": item.model_digest}  # fmt: skip
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            rows += 1
    refused.pop(WITHDRAWAL, None)
    found = Harvest(lines, rows, withdrawals, refused, replaced)
    write_json(report_of(out), found.as_dict())
    return found


def forget(rows: Path, withdrawn: Iterable[str]) -> int:
    """Take the rows of these ids out of a file that `harvest` wrote; returns how many. The file is replaced whole.

    What was trained on the file before still knows the rows: train again, or unlearn. Raises ArtifactError for a
    line that is no row, since it might be one of them.
    """
    gone, removed = set(withdrawn), 0
    kept: list[bytes] = []
    for number, line in enumerate(_raw(rows), 1):
        try:
            row_id = json.loads(line)["id"]
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError("A line is no row of this file's kind.", f"{rows}:{number}", "make the file again from the log") from error  # fmt: skip
        if row_id in gone:
            removed += 1
        else:
            kept.append(line)
    if removed:
        with open_atomic(rows) as file:
            file.writelines(kept)
    return removed


def report_of(out: Path) -> Path:
    return out.with_name(out.name + REPORT)


WITHDRAWAL = "withdrawal"


def _survey(log: Path, withdrawn: Iterable[str]) -> tuple[set[str], dict[str, int], int]:
    """(withdrawn ids, the last line of every id, lines that withdraw)."""
    gone, last, count = set(withdrawn), {}, 0
    for number, line in enumerate(_raw(log), 1):
        row = _json(line)
        if isinstance(row, dict) and row.get("withdraw") is True and isinstance(row.get("id"), str):
            gone.add(row["id"])
            count += 1
        elif isinstance(item := _rating(row), Rating):
            last[item.id] = number
    return gone, last, count


def _refusal(item: Rating, gone: set[str], is_last: bool) -> str:
    """Why a rating becomes no row, "" when it does. The order is that of importance: consent before everything."""
    if item.id in gone:
        return "consent withdrawn"
    if not is_last:
        return "rated again later"
    if not item.consent:
        return "no consent"
    if not item.up and not item.correction.strip():
        return "rated down without a correction"
    if not item.question.strip() or not (item.correction or item.answer).strip():
        return "question or answer is empty"
    if max(len(item.question), len(item.answer), len(item.correction)) > MOST_CHARACTERS:
        return "question or answer is too long"
    return ""


def _lines(log: Path) -> Iterator[tuple[int, Rating | str]]:
    """Line number and rating, or the reason why the line is none."""
    for number, line in enumerate(_raw(log), 1):
        row = _json(line)
        if isinstance(row, dict) and row.get("withdraw") is True and isinstance(row.get("id"), str):
            yield number, WITHDRAWAL
        else:
            yield number, _rating(row)


def _rating(row: Any) -> Rating | str:
    if not isinstance(row, dict):
        return "not a JSON object"
    if not isinstance(row.get("id"), str) or not row["id"]:
        return "no id: consent could not be withdrawn"
    texts = {name: row.get(name, "") for name in ("question", "answer", "correction", "time", "model_digest")}
    texts = {name: "" if value is None else value for name, value in texts.items()}
    if not all(isinstance(value, str) for value in texts.values()) or row.get("rating") not in ("up", "down"):
        return "not a rating"
    return Rating(id=row["id"], up=row["rating"] == "up", consent=row.get("consent") is True, **texts)


def _json(line: bytes) -> Any:
    """The value of a line; None for what is none, which `_rating` refuses."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _raw(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while line := file.readline(MOST_LINE):
                if len(line) == MOST_LINE and not line.endswith(b"\n"):
                    while (rest := file.readline(MOST_LINE)) and not rest.endswith(b"\n"):
                        pass  # the rest of a line that is no rating is never held
                if line.strip():
                    yield line
    except OSError as error:
        raise DataError("The log cannot be read.", f"{path}: {error.strerror}", "check the path") from error


def _redacted(text: str, step: Pii, replaced: Counter[str]) -> str:
    """Raises DataError when the step drops the text: a half of a conversation is none."""
    result = text
    for item in run_alone(step, [Document("", text, "")]):
        if isinstance(item, Note):
            replaced[item.change] += item.count
        elif isinstance(item, Document):
            result = item.text
        else:
            raise DataError("The step for personal data must replace, not drop.", item.reason, "set action: replace")  # fmt: skip
    return result
