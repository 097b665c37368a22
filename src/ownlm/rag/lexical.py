"""The passage index: one SQLite file with the documents, their passages and an FTS5 table of their terms.

FTS5 (BM25) proposes candidates, ranking.py puts them in order. Read-only while serving: one connection per thread,
no journal, nothing is written. The FTS table holds terms made by terms.py, so SQLite only splits at blanks.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError
from ownlm.rag import ranking
from ownlm.rag.ranking import Candidate, Weighed
from ownlm.rag.terms import content_words, forms, words
from ownlm.rag.writing import FORMAT, Built, add_facts, write
from ownlm.records import Document, Passage

CANDIDATES = 60  # passages that BM25 proposes
NAMED = 24  # passages with a title that the question spells out, proposed besides
_MOST_WORDS = 64  # content words of a question that are looked up, the rarest first
_PASSAGE = "SELECT p.id, d.name, p.title, p.text, d.source, d.licence, p.start, p.stop FROM passages p JOIN documents d ON d.id = p.document"  # fmt: skip


class LexicalIndex:
    """Thread-safe reader of a finished index."""

    def __init__(self, path: Path) -> None:
        """Raises ArtifactError when the file is missing, is no index, or is one of another version."""
        self.path = Path(path)
        self._local = threading.local()
        if not self.path.is_file():
            raise ArtifactError("There is no passage index.", str(self.path), "run `ownlm build` again")
        try:
            rows = self._connection().execute("SELECT name, value FROM facts").fetchall()
            self.facts: dict[str, Any] = {name: json.loads(value) for name, value in rows}
        except (sqlite3.DatabaseError, ValueError) as error:
            raise ArtifactError("This file is not a passage index.", f"{self.path}: {error}", "run `ownlm build` again") from error  # fmt: skip
        if self.facts.get("format") != FORMAT:
            raise ArtifactError(
                "The passage index has another format.", f"{self.path}: {self.facts.get('format')}, wanted {FORMAT}",
                "run `ownlm build` again",
            )  # fmt: skip
        self.num_passages = int(self.facts["num_passages"])
        self.num_documents = int(self.facts["num_documents"])
        self.threshold = float(self.facts["threshold"])  # of relevance(), below which a question is refused

    @staticmethod
    def build(
        path: Path, documents: Iterable[Document], num_training: int | None = None, seed: int = 0
    ) -> Built:
        """Write the index of all documents and calibrate its refusal threshold.

        num_training: only the first so many documents may lend questions to the calibration (None: all).
        Raises DataError when the documents hold no passage.
        """
        from ownlm.rag import relevance  # calibration searches the index: imported late to keep one direction

        built = write(Path(path), documents, num_training)
        threshold, report = relevance.calibrate(LexicalIndex(path), built.samples, seed)
        add_facts(Path(path), threshold=threshold, calibration=report)
        return replace(built, threshold=threshold)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(uri, uri=True)
            connection.execute("PRAGMA mmap_size = 268435456")
            self._local.connection = connection
            self._local.frequencies, self._local.weighed = {}, {}
        return connection

    def search(self, question: str, k: int = 3) -> list[Passage]:
        """The k best passages, best first; `score` is the ranking's. Equal scores: earlier passage first."""
        weighed = self.weigh(question)
        if not weighed:
            return []
        candidates = self._candidates(weighed, max(CANDIDATES, 2 * k))
        candidates += self._named(question, {candidate.id for candidate in candidates})
        ranked = ranking.rank(question, weighed, candidates)[:k]
        return [replace(self.passage(number), score=round(score, 6)) for number, score in ranked]

    __call__ = search  # it is a Retrieve

    def weigh(self, question: str) -> list[Weighed]:
        """The content words of a question with their terms and inverse document frequencies, the weightiest first."""
        self._connection()
        known: dict[str, list[Weighed]] = self._local.weighed
        if question in known:
            return known[question]
        if len(known) > 16:
            known.clear()
        weighed = [w for word in content_words(question) if forms(word) for w in ranking.weigh(word, self)]
        known[question] = sorted(weighed, key=lambda word: -word.weight)[:_MOST_WORDS]
        return known[question]

    def frequency(self, term: str) -> int:
        """In how many passages a term occurs."""
        connection = self._connection()
        known: dict[str, int] = self._local.frequencies
        if term not in known:
            if len(known) > 100_000:
                known.clear()
            row = connection.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,)).fetchone()
            known[term] = int(row[0]) if row else 0
        return known[term]

    def beginning(self, prefix: str) -> list[tuple[str, int]]:
        """(term, in how many passages) of the terms that begin so."""
        found = self._connection().execute(
            "SELECT term, doc FROM vocabulary WHERE term >= ? AND term < ?", (prefix, prefix + "\U0010ffff")
        )
        return [(str(term), int(count)) for term, count in found]

    def _candidates(self, weighed: Sequence[Weighed], limit: int) -> list[Candidate]:
        query = ranking.query(weighed, self)
        if not query:
            return []
        rows = self._connection().execute(
            "SELECT t.rowid, t.rank, t.title, t.body, p.title, p.part FROM terms t JOIN passages p ON p.id = t.rowid "
            "WHERE t.terms MATCH ? ORDER BY t.rank, t.rowid LIMIT ?",
            (query, limit),
        )
        return [Candidate(number, -rank, *rest) for number, rank, *rest in rows]

    def _named(self, question: str, known: set[int]) -> list[Candidate]:
        """Passages whose title, or its last part, stands in the question."""
        names = ranking.names(question)
        if not names:
            return []
        marks = ",".join("?" * len(names))
        rows = self._connection().execute(
            f"SELECT p.id, t.title, t.body, p.title, p.part FROM passages p JOIN terms t ON t.rowid = p.id "  # noqa: S608
            f"WHERE p.id IN (SELECT passage FROM names WHERE name IN ({marks}) ORDER BY part, passage LIMIT ?) ORDER BY p.id",
            (*names, NAMED),
        )
        return [Candidate(number, 0.0, *rest) for number, *rest in rows if number not in known]

    def passage(self, number: int) -> Passage:
        """Raises KeyError for an unknown id."""
        row = self._connection().execute(f"{_PASSAGE} WHERE p.id = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return Passage(*row)

    def document(self, document_id: str) -> Document:
        """The whole document. Raises KeyError for an unknown id."""
        row = self._connection().execute(
            "SELECT name, text, source, licence, meta FROM documents WHERE name = ?", (document_id,)
        ).fetchone()  # fmt: skip
        if row is None:
            raise KeyError(document_id)
        name, text, source, licence, meta = row
        return Document(name, text, source, licence, json.loads(meta))

    def relevance(self, question: str, passages: Sequence[Passage]) -> float:
        """0..1: how much of what the question asks about stands in the best of these passages (relevance.py)."""
        from ownlm.rag import relevance

        return relevance.relevance(self.weigh(question), passages)

    def sections_named(self, name: str) -> int:
        """How many sections of the whole collection bear this name (last part of the title, or all of it)."""
        row = self._connection().execute("SELECT count(*) FROM names WHERE name = ? AND part = 0", (ranking.key(name),)).fetchone()  # fmt: skip
        return int(row[0])

    def mentions(self, phrase: str, most: int = 4) -> int:
        """In how many passages these words follow one another; counting stops at `most`."""
        wanted = [forms(word)[0] for word in words(phrase) if forms(word)]
        if not wanted:
            return 0
        match = '"' + " ".join(wanted).replace('"', '""') + '"'
        rows = (
            self._connection()
            .execute("SELECT 1 FROM terms WHERE terms MATCH ? LIMIT ?", (match, most))
            .fetchall()
        )
        return len(rows)

    def together(self, wanted: Sequence[str]) -> bool:
        """Whether one passage of the collection holds all these words (in any form of theirs)."""
        found = [forms(word)[0] for part in wanted for word in words(part) if forms(word)]
        match = " AND ".join('"' + term.replace('"', '""') + '"' for term in found)
        row = self._connection().execute("SELECT 1 FROM terms WHERE terms MATCH ? LIMIT 1", (match,)).fetchone() if match else None  # fmt: skip
        return row is not None
