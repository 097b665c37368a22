"""Writing the passage index file (lexical.py reads it)."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownlm.errors import DataError
from ownlm.rag import ranking
from ownlm.rag.chunk import passages
from ownlm.rag.terms import terms
from ownlm.records import Document, Passage

FORMAT = 1
TITLE_WEIGHT = 3.0  # of a term in the title against one in the text, in BM25 (in _SCHEMA)
CALIBRATED_ON = 200  # documents kept to write calibration questions from, spread over the training documents

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    licence TEXT NOT NULL, meta TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, part INTEGER NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE names (name TEXT NOT NULL, part INTEGER NOT NULL, passage INTEGER NOT NULL,
    PRIMARY KEY (name, part, passage)) WITHOUT ROWID;
CREATE VIRTUAL TABLE terms USING fts5(title, body,
    tokenize = "unicode61 remove_diacritics 0 categories 'L* N* M* P* S* Co'");
INSERT INTO terms(terms, rank) VALUES ('rank', 'bm25(3.0, 1.0)');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(terms, row);
"""


@dataclass(frozen=True, slots=True)
class Built:
    num_documents: int
    num_passages: int
    threshold: float = 0.0
    samples: list[Document] = field(default_factory=list, repr=False)  # for calibration


def write(path: Path, documents: Iterable[Document], num_training: int | None) -> Built:
    """Create the file anew. Raises DataError when there is nothing to index or an id comes twice."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")
        built = _fill(connection, documents, num_training)
        if not built.num_passages:
            raise DataError(
                "There is nothing to index.",
                f"{built.num_documents} documents, 0 passages",
                "give documents with text",
            )
        facts = {"format": FORMAT, "num_documents": built.num_documents, "num_passages": built.num_passages,
                 "title_weight": TITLE_WEIGHT, "threshold": 0.0}  # fmt: skip
        connection.executemany(
            "INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in facts.items()]
        )
        connection.execute("COMMIT")
        connection.execute("INSERT INTO terms(terms) VALUES ('optimize')")
    finally:
        connection.close()
    _sync(path)
    return built


def add_facts(path: Path, **facts: Any) -> None:
    """Write values that are known only when the index can be searched."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        with connection:
            rows = [(name, json.dumps(value)) for name, value in facts.items()]
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)
    finally:
        connection.close()
    _sync(path)


def _fill(connection: sqlite3.Connection, documents: Iterable[Document], num_training: int | None) -> Built:
    samples: list[Document] = []
    stride, number, first = 1, 0, 1
    for number, document in enumerate(documents, 1):
        try:
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)",
                (
                    number,
                    document.id,
                    document.source,
                    document.licence,
                    json.dumps(dict(document.meta)),
                    document.text,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise DataError("Two documents have the same id.", f"{document.id} ({document.source})", "remove one of them") from error  # fmt: skip
        first += _add(connection, number, first, passages(document))
        if (num_training is None or number <= num_training) and number % stride == 0:
            samples.append(document)
            if len(samples) >= 2 * CALIBRATED_ON:  # thin out: every second stays, so they are spread evenly
                samples, stride = samples[1::2], 2 * stride
    return Built(number, first - 1, samples=samples)


def _add(connection: sqlite3.Connection, document: int, first: int, found: Iterator[Passage]) -> int:
    """Insert the passages of one document, ids from `first`; how many there were."""
    parts: Counter[str] = Counter()
    rows, texts, names = [], [], []
    for number, passage in enumerate(found, first):
        part = parts[passage.title]
        parts[passage.title] += 1
        rows.append((number, document, part, passage.start, passage.end, passage.title, passage.text))
        texts.append((number, " ".join(terms(passage.title)), " ".join(terms(passage.text))))
        names += [(name, part, number) for name in ranking.title_names(passage.title)]
    connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT INTO terms(rowid, title, body) VALUES (?, ?, ?)", texts)
    connection.executemany("INSERT INTO names VALUES (?, ?, ?)", names)
    return len(rows)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
