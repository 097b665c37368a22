"""One file of each kind of poison among good ones: all good ones come out, each poison file is a Drop with a reason."""

from __future__ import annotations

import time

import poison
import pytest

from ownlm.data.limits import Limits
from ownlm.data.sources.part import Source, read_unit, split, units
from ownlm.records import Drop

GOOD = "A good document among the poison, number {}.\n"


def outcome(folder):
    """(good texts, reasons by file name, most seconds of one unit)."""
    texts, found, slowest = [], {}, 0.0
    for part in split(Source(path=str(folder))):
        for unit in units(part, Limits()):
            start = time.process_time()
            for item in [unit] if isinstance(unit, Drop) else read_unit(unit, Limits()):
                if isinstance(item, Drop):
                    found.setdefault(item.source.partition("#")[0].partition("@")[0], []).append(item.reason)
                else:
                    texts.append(item.text)
            slowest = max(slowest, time.process_time() - start)
    return texts, found, slowest


def check(folder, count, seed):
    pytest.importorskip("pypdfium2")
    made = poison.make(folder, count, seed)
    for number in range(count):
        (folder / f"poison{number:03d}_good.txt").write_text(GOOD.format(number))
    before = sorted(path.name for path in folder.parent.iterdir())
    texts, found, slowest = outcome(folder)
    assert texts == [GOOD.format(number) for number in range(count)]
    for file in made:
        assert found.get(file.name) and all(found[file.name]), file
    assert len(found) == len(made) and slowest < 30
    assert sorted(path.name for path in folder.parent.iterdir()) == before  # nothing was unpacked


def test_each_kind_of_poison_is_a_drop(tmp_path):
    check(tmp_path / "in", len(poison.KINDS), seed=1)


@pytest.mark.slow
def test_300_poison_files_are_300_drops(tmp_path):
    check(tmp_path / "in", 300, seed=2)
