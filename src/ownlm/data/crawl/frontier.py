"""What is to be fetched, what was fetched and what was refused: one SQLite file that survives kill -9.

Write-ahead log, full sync: a transaction that returned is on the disk. A page moves from "new" to one of "done",
"refused", "failed" in the same transaction that adds the links found on it and notes the length of the WARC file.
So after a crash a page is either finished or still new: the one in flight is fetched again, none is lost.

    pages   url (unique), host, depth, redirects, state, reason, attempts, not_before (seconds since the epoch)
    hosts   robots.txt and the other rules of a place, when they were read, when the next request may go out
    facts   name -> value: version, WARC file in use and its length
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.data.crawl.urls import Url, canonical
from ownlm.errors import ArtifactError

VERSION = "1"
_TABLES = """
CREATE TABLE IF NOT EXISTS pages (
    id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, host TEXT NOT NULL, depth INTEGER NOT NULL,
    redirects INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'new', reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS waiting ON pages (host, depth, id) WHERE state = 'new';
CREATE INDEX IF NOT EXISTS postponed ON pages (host, not_before) WHERE state = 'new';
CREATE INDEX IF NOT EXISTS states ON pages (state, reason);
CREATE TABLE IF NOT EXISTS hosts (
    host TEXT PRIMARY KEY, next_at REAL NOT NULL DEFAULT 0, rules TEXT NOT NULL DEFAULT '', read_at REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Page:
    id: int
    url: Url
    depth: int
    redirects: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Link:
    url: Url
    depth: int
    redirects: int = 0


class Frontier:
    def __init__(self, path: Path) -> None:
        """Opens or creates. Raises ArtifactError when the file is not a frontier of this version."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            version = self.fact("version")
        except sqlite3.DatabaseError as error:
            raise ArtifactError(
                "The frontier of the crawl cannot be read.", f"{path}: {error}", "crawl into another folder"
            ) from error
        if version not in ("", VERSION):
            raise ArtifactError(
                "The frontier is of another version.", f"{path}: {version}", "crawl into another folder"
            )
        self.set_facts(version=VERSION)

    def close(self) -> None:
        self._db.close()

    def add(self, links: Iterable[Link]) -> None:
        """Pages not known yet become new; known ones stay what they are."""
        links = list(links)
        self._db.executemany(
            "INSERT OR IGNORE INTO hosts (host) VALUES (?)",
            [(origin,) for origin in {link.url.origin: 0 for link in links}],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO pages (url, host, depth, redirects) VALUES (?, ?, ?, ?)",
            [(str(link.url), link.url.origin, link.depth, link.redirects) for link in links],
        )

    def next(self, now: float) -> tuple[Page | None, float]:
        """The page whose turn it is (its host is ready, least depth, then oldest), or the time until one may be."""
        row = self._db.execute(
            """SELECT p.id, p.url, p.depth, p.redirects, p.attempts FROM hosts h JOIN pages p ON p.id = (
                SELECT id FROM pages WHERE host = h.host AND state = 'new' AND not_before <= ?1 ORDER BY depth, id LIMIT 1)
            WHERE h.next_at <= ?1 ORDER BY p.depth, p.id LIMIT 1""",
            (now,),
        ).fetchone()
        if row:
            return Page(row[0], canonical(row[1]), *row[2:5]), now
        soonest = self._db.execute(
            """SELECT min(max(h.next_at, (SELECT min(not_before) FROM pages WHERE host = h.host AND state = 'new')))
            FROM hosts h"""
        ).fetchone()[0]
        return None, now if soonest is None else soonest

    def finish(
        self, page: Page, state: str, reason: str = "", links: Sequence[Link] = (), **facts: str
    ) -> None:
        """One transaction: the page is done, refused or failed, its links are new, the facts are noted."""
        with self._transaction():
            self._db.execute(
                "UPDATE pages SET state = ?, reason = ? WHERE id = ?", (state, reason[:300], page.id)
            )
            self.add(links)
            self.set_facts(**facts)

    def postpone(self, page: Page, until: float, reason: str) -> None:
        self._db.execute(
            "UPDATE pages SET attempts = attempts + 1, not_before = ?, reason = ? WHERE id = ?",
            (until, reason[:300], page.id),
        )

    def visited(self, host: str, next_at: float) -> None:
        """No request to `host` before `next_at`."""
        self._db.execute(
            "INSERT INTO hosts (host, next_at) VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET next_at = max(next_at, excluded.next_at)",
            (host, next_at),
        )

    def rules(self, host: str) -> tuple[dict[str, Any], float]:
        """The stored rules of a host and when they were read; ({}, 0.0) when they were not."""
        row = self._db.execute("SELECT rules, read_at FROM hosts WHERE host = ?", (host,)).fetchone()
        return (json.loads(row[0]), row[1]) if row and row[0] else ({}, 0.0)

    def set_rules(self, host: str, rules: dict[str, Any], read_at: float) -> None:
        self._db.execute(
            "INSERT INTO hosts (host, rules, read_at) VALUES (?, ?, ?) "
            "ON CONFLICT (host) DO UPDATE SET rules = excluded.rules, read_at = excluded.read_at",
            (host, json.dumps(rules), read_at),
        )

    def next_at(self, host: str) -> float:
        row = self._db.execute("SELECT next_at FROM hosts WHERE host = ?", (host,)).fetchone()
        return float(row[0]) if row else 0.0

    def counts(self) -> dict[str, int]:
        """Pages per state."""
        return dict(self._db.execute("SELECT state, count(*) FROM pages GROUP BY state ORDER BY state"))

    def reasons(self) -> list[tuple[str, str, int]]:
        """(state, category, pages) of what was refused or failed, most frequent first."""
        return self._db.execute(
            """SELECT state, CASE instr(reason, ': ') WHEN 0 THEN reason ELSE substr(reason, 1, instr(reason, ': ') - 1) END
            AS category, count(*) AS pages FROM pages WHERE state IN ('refused', 'failed')
            GROUP BY state, category ORDER BY pages DESC, state, category"""
        ).fetchall()

    def fact(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_facts(self, **facts: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db
