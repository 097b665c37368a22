"""What a task has done so far, on disk after every unit, so that a killed worker loses one unit and no more.

    NAME.jsonl    the documents that came through, one per line
    NAME.events   one JSON line per event; [unit] closes a unit together with the size of NAME.jsonl at that moment

    NAME.state    the counts up to a closed unit, now and then, so that reopening need not replay everything

A unit is what the reader opens at once: a file, a record, a row. Reopening cuts both files back to the last closed
unit and replays the events into the funnel.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ownlm.data import store
from ownlm.data.flow.chain import Dropped, Noted, Passed, StepFailed
from ownlm.data.funnel import Funnel
from ownlm.records import Document, Drop
from ownlm.runtime.files import machine_error

READ = "read"
STATE_EVERY = 256  # units between two states
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Appends; `close_unit` makes what was appended count. `names` are the steps of the stage in order."""

    def __init__(self, prefix: Path, names: list[str], seed: int, keep_dropped: bool, reads: bool) -> None:
        """reads: the units come from the reader; else they are documents of an earlier stage."""
        self.documents_path = prefix.with_name(prefix.name + ".jsonl")
        self._events_path = prefix.with_name(prefix.name + ".events")
        self._state_path = prefix.with_name(prefix.name + ".state")
        self._names = names
        self._keep_dropped = keep_dropped
        self._reads = reads
        self._seed = seed
        self.funnel = self._empty_funnel()
        # every drop of the reader and of the guard: step, source, reason, sample
        self.quarantine: list[list[str]] = []
        self.dropped: list[list[str]] = []  # step, source, reason, sample; only when all are kept
        self.num_documents = 0
        self.num_units = 0  # units closed so far
        self._lines: list[bytes] = []
        self._rows: list[Any] = []
        self._offset = self._events_offset = 0  # bytes of documents and of events that are closed
        self._replay()
        self._documents = open(self.documents_path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
        self._events = open(self._events_path, "ab", buffering=0)  # noqa: SIM115

    def _empty_funnel(self) -> Funnel:
        """With every step, in order, also those that no document reaches."""
        funnel = Funnel(self._seed)
        for name in ([READ] if self._reads else []) + self._names:
            funnel.step(name)
        return funnel

    def read(self, document: Document) -> None:
        """A document enters the stage."""
        if self._reads:
            self._add(["r", len(document.text)])

    def unread(self, drop: Drop, characters: int = 0) -> None:
        """The reader, or the guard, gave a drop instead; it counts where the document would have been taken next."""
        self._add(["q", drop.source, drop.reason, drop.sample, characters])

    def event(self, event: Passed | Dropped | Noted) -> None:
        if isinstance(event, Passed):
            self._lines.append(_line(event.document))
            self._add(["p", *event.trace])
        elif isinstance(event, Dropped):
            drop = event.drop
            self._add(["d", drop.step, drop.source, drop.reason, drop.sample, *event.trace])
        else:
            self._add(["n", event.step, event.note.change, event.note.count])

    def close_unit(self) -> None:
        data = b"".join(self._lines)
        self._offset += len(data)
        self.num_units += 1
        self._rows.append([self.num_units, self._offset])
        if data:
            _write(self._documents.fileno(), data)
        text = "".join(_ENCODE(row) + "\n" for row in self._rows)
        _write(self._events.fileno(), text.encode("ascii"))
        self._events_offset += len(text)
        self._lines, self._rows = [], []
        if self.num_units % STATE_EVERY == 0:
            self._save_state()

    def close(self) -> None:
        self._documents.close()
        self._events.close()

    def remove(self) -> None:
        self.documents_path.unlink(missing_ok=True)
        self._events_path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)

    def _add(self, row: list[Any]) -> None:
        self._rows.append(row)
        self._count(row)

    def _count(self, row: list[Any]) -> None:
        """One event into the funnel."""
        kind, *facts = row
        if kind == "r":
            self.funnel.passed(READ, facts[0], facts[0])
        elif kind == "q":
            step = READ if self._reads else self._names[0]
            self.funnel.dropped(Drop(facts[0], step, facts[1], facts[2]), facts[3])
            self.quarantine.append([step, *facts[:3]])
        elif kind == "n":
            self.funnel.note(facts[0], facts[1], facts[2])
        else:
            trace = facts if kind == "p" else facts[4:]
            for name, before, after in zip(self._names, trace, trace[1:], strict=False):
                self.funnel.passed(name, before, after)
            if kind == "p":
                self.num_documents += 1
            else:
                self.funnel.dropped(Drop(facts[1], facts[0], facts[2], facts[3]), trace[-1])
                if self._keep_dropped:
                    self.dropped.append(facts[:4])

    def _save_state(self) -> None:
        """Not synced: a state that a power cut left behind is caught by the sizes of the other two files."""
        facts = {"num_units": self.num_units, "num_documents": self.num_documents, "documents": self._offset,
                 "events": self._events_offset, "funnel": self.funnel.saved(), "quarantine": self.quarantine,
                 "dropped": self.dropped}  # fmt: skip
        temporary = self._state_path.with_suffix(".state-tmp")
        try:
            temporary.write_bytes(_ENCODE(facts).encode("ascii"))
            os.replace(temporary, self._state_path)
        except OSError as error:
            raise machine_error(error, "writing the state of a task") from error

    def _load_state(self) -> None:
        if not self._state_path.is_file():
            return
        facts = json.loads(self._state_path.read_bytes())
        self.num_units, self.num_documents = facts["num_units"], facts["num_documents"]
        self._offset, self._events_offset = facts["documents"], facts["events"]
        self.funnel.merge(facts["funnel"])
        self.quarantine, self.dropped = facts["quarantine"], facts["dropped"]

    def _replay(self) -> None:
        """Count what is closed, cut off what is not."""
        if not self._events_path.is_file() or not self.documents_path.is_file():
            self.remove()
            return
        self._load_state()
        pending: list[list[Any]] = []
        position = self._events_offset
        with open(self._events_path, "rb") as file:
            file.seek(position)
            for line in file:
                position += len(line)
                try:
                    row = json.loads(line)
                except ValueError:
                    break  # cut short by the kill
                if not isinstance(row[0], int):
                    pending.append(row)
                    continue
                for event in pending:
                    self._count(event)
                pending = []
                self.num_units, self._offset = row
                self._events_offset = position
        sizes = self._events_path.stat().st_size, self.documents_path.stat().st_size
        if sizes[0] < self._events_offset or sizes[1] < self._offset:
            # not a kill but a power cut: nothing can be trusted
            self.remove()
            self.funnel, self.num_documents, self.num_units = self._empty_funnel(), 0, 0
            self.quarantine, self.dropped = [], []
            self._offset = self._events_offset = 0
            return
        os.truncate(self._events_path, self._events_offset)
        os.truncate(self.documents_path, self._offset)


def _line(document: Document) -> bytes:
    try:
        return store.to_line(document)
    except UnicodeEncodeError as error:
        problem = ValueError(
            "the text has a lone surrogate, which no file can hold: put the step clean before"
        )
        raise StepFailed("write", problem) from error


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise machine_error(error, "writing the journal of a task") from error
