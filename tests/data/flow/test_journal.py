"""A journal that was cut anywhere goes on behind its last closed unit, with the counts of those that are closed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ownlm.data.flow import journal as module
from ownlm.data.flow.chain import Dropped, Noted, Passed
from ownlm.data.flow.journal import Journal
from ownlm.data.flow.step import Note
from ownlm.records import Document, Drop


def opened(folder: Path) -> Journal:
    return Journal(folder / "00000", ["one", "two"], 0, True, True)


def unit(journal: Journal, number: int) -> None:
    """What unit `number` leaves behind: a document, a drop of a step, or a drop of the reader."""
    text = f"text of unit {number}"
    if number % 5 == 4:
        journal.unread(Drop(f"s{number}", "read", "damaged"))
        return
    document = Document(f"id{number}", text, f"s{number}")
    journal.read(document)
    journal.event(Noted("one", Note("changed", 2)))
    if number % 3 == 2:
        journal.event(Dropped(Drop(document.source, "two", f"odd: {number}", text), (len(text), len(text))))
    else:
        journal.event(Passed(document, (len(text), len(text), len(text))))


def outcome(journal: Journal) -> tuple[object, ...]:
    documents = [json.loads(line)["id"] for line in journal.documents_path.read_bytes().splitlines()]
    return (
        documents,
        journal.funnel.saved(),
        journal.quarantine,
        journal.dropped,
        journal.num_documents,
        journal.num_units,
    )


def whole(folder: Path, count: int) -> tuple[object, ...]:
    folder.mkdir()
    journal = opened(folder)
    for number in range(count):
        unit(journal, number)
        journal.close_unit()
    return outcome(journal)


@pytest.mark.parametrize("seed", range(12))
def test_cut_anywhere_it_goes_on_behind_the_last_closed_unit(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(module, "STATE_EVERY", 7)
    expected = whole(tmp_path / "whole", 40)
    rng = random.Random(seed)
    folder = tmp_path / "cut"
    folder.mkdir()
    while (journal := opened(folder)).num_units < 40:
        for number in range(journal.num_units, min(40, journal.num_units + rng.randint(1, 12))):
            unit(journal, number)
            journal.close_unit()
        journal.close()
        for ending, more in ((".jsonl", b'{"id":"half'), (".events", b'["r",5]\n["p",5'), (".events", b"")):
            with open(folder / f"00000{ending}", "ab") as file:  # written, but not closed when the kill came
                file.write(more[: rng.randint(0, len(more))])
    assert outcome(journal) == expected


def test_after_a_power_cut_nothing_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STATE_EVERY", 7)
    whole(tmp_path / "a", 20)
    path = tmp_path / "a" / "00000.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    journal = opened(tmp_path / "a")
    assert journal.num_units == 0 and journal.num_documents == 0 and journal.quarantine == []
    assert path.read_bytes() == b"" and not (tmp_path / "a" / "00000.state").exists()
