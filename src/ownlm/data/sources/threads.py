"""Question-and-answer dumps (StackExchange Posts.xml): one document per question with its best answers.

Answers stand anywhere after their question, so posts are first sorted into a private temporary database on disk, which
disappears with the process: memory is SQLite's page cache (64 MiB), disk about the size of the file.
Order: by question id. Answers: the accepted one first, then by score, then by id.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from ownlm.data import html
from ownlm.data.licence import UNKNOWN
from ownlm.data.limits import Limits, Unusable
from ownlm.data.rows import document_id
from ownlm.data.sources.source import Unit
from ownlm.data.sources.xml_events import events
from ownlm.records import Document, Drop

MOST_ANSWERS = 5
_MOST_POSTS = 1000  # of one thread held in memory
_QUESTION, _ANSWER = "1", "2"
_TABLE = (
    "CREATE TABLE posts (question INTEGER, rank INTEGER, score INTEGER, id INTEGER, title TEXT, tags TEXT, "
    "date TEXT, licence TEXT, accepted INTEGER, body TEXT)"
)
# rank 0: the question; 1: an answer. The accepted answer is known once the question is at hand.
_ORDERED = "SELECT * FROM posts ORDER BY question, rank, score DESC, id"


def units(
    file: io.BufferedReader, name: str, options: Mapping[str, Any], limits: Limits
) -> Iterator[Unit | Drop]:
    """Drops come first (posts that are no question or answer, damage), then the threads."""
    store = sqlite3.connect("")  # a temporary file of its own
    try:
        store.execute("PRAGMA journal_mode=OFF")
        store.execute("PRAGMA cache_size=-65536")
        store.execute(_TABLE)
        yield from _fill(store, file, name, limits)
        thread: list[sqlite3.Row] = []
        store.row_factory = sqlite3.Row
        for post in store.execute(_ORDERED):
            if thread and thread[0]["question"] != post["question"]:
                yield from _thread(thread, name, options)
                thread = []
            if len(thread) < _MOST_POSTS:
                thread.append(post)
            else:
                yield Drop(f"{name}#answer{post['id']}", "read", f"not among the {MOST_ANSWERS} best answers")
        if thread:
            yield from _thread(thread, name, options)
    finally:
        store.close()


def _fill(store: sqlite3.Connection, file: io.BufferedReader, name: str, limits: Limits) -> Iterator[Drop]:
    number = 0
    try:
        for kind, tag, row in events(file):
            if kind != "start" or tag != "row":
                continue
            number += 1
            place = f"{name}#row{number}"
            if row.get("PostTypeId") not in (_QUESTION, _ANSWER):
                yield Drop(
                    place, "read", f"not a question or answer: post type {row.get('PostTypeId', '')[:8]}"
                )
            elif len(row.get("Body", "")) > limits.line_bytes:
                yield Drop(place, "read", f"too large: more than {limits.line_bytes} characters")
            elif (post := _post(row)) is None:
                yield Drop(place, "read", "bad row: its Id, ParentId or Score is no number")
            else:
                store.execute("INSERT INTO posts VALUES (?,?,?,?,?,?,?,?,?,?)", post)
    except Unusable as error:
        yield Drop(name, "read", str(error))  # what came before the damage is kept


def _post(row: Mapping[str, str]) -> tuple[Any, ...] | None:
    is_question = row["PostTypeId"] == _QUESTION
    try:
        own = _number(row.get("Id", ""))
        question = own if is_question else _number(row.get("ParentId", ""))
        score = _number(row.get("Score") or "0")
        accepted = _number(row.get("AcceptedAnswerId") or "0")
    except ValueError:
        return None
    return (
        question, 0 if is_question else 1, score, own, row.get("Title", ""), row.get("Tags", ""),
        row.get("CreationDate", ""), row.get("ContentLicense", ""), accepted, _storable(row.get("Body", "")),
    )  # fmt: skip


def _number(text: str) -> int:
    value = int(text)
    if abs(value) >= 1 << 62:
        raise ValueError(text[:30])
    return value


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _thread(posts: list[sqlite3.Row], name: str, options: Mapping[str, Any]) -> Iterator[Unit | Drop]:
    question, *answers = posts
    place = f"{name}#question{question['question']}"
    if question["rank"]:
        for post in posts:
            yield Drop(f"{name}#answer{post['id']}", "read", "answer without its question")
        return
    if not answers:
        yield Drop(place, "read", "question without an answer", question["title"][:300])
        return
    answers.sort(key=lambda post: post["id"] != question["accepted"])  # stable: the rest stay by score
    for post in answers[MOST_ANSWERS:]:
        yield Drop(f"{name}#answer{post['id']}", "read", f"not among the {MOST_ANSWERS} best answers")
    data = json.dumps([dict(post) for post in (question, *answers[:MOST_ANSWERS])]).encode()
    yield Unit(place, "thread", data, options=options)


def read_thread(unit: Unit) -> Document:
    """Raises Unusable when the bodies cannot be read (html.main_text)."""
    question, *answers = json.loads(unit.data)
    parts = [f"# {question['title']}" if question["title"] else "", _body(question)]
    for answer in answers:
        accepted = answer["id"] == question["accepted"]
        parts += ["## Accepted answer" if accepted else "## Answer", _body(answer)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    tags = [tag for tag in question["tags"].replace("><", "|").strip("<>|").split("|") if tag]
    meta = {
        "format": "markdown", "title": question["title"], "place": unit.source, "date": question["date"],
        "score": question["score"], "answer_scores": [answer["score"] for answer in answers],
        "accepted": any(answer["id"] == question["accepted"] for answer in answers), "tags": tags[:20],
    }  # fmt: skip
    known = unit.options["known"]
    licences = sorted({_spdx(post["licence"]) for post in (question, *answers) if post["licence"]})
    licence = " AND ".join(licences) if licences and known == UNKNOWN else known
    return Document(document_id(unit.source, text), text, unit.source, licence, meta)


def _body(post: Mapping[str, Any]) -> str:
    return html.main_text(f"<body>{post['body']}</body>").text.strip()


def _spdx(stated: str) -> str:
    """`CC BY-SA 4.0` as it stands in dumps, as SPDX writes it."""
    return "-".join(stated.split())[:40]
