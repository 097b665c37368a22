"""The funnel adds up, stays bounded and samples every drop with equal chance."""

from __future__ import annotations

from collections import Counter

from ownlm.data.funnel import MOST_REASONS, ROWS, Funnel
from ownlm.records import Drop


def test_reasons_are_counted_by_category_and_bounded():
    funnel = Funnel()
    for number in range(3 * MOST_REASONS):
        funnel.dropped(Drop(f"s{number}", "read", f"unknown suffix .{number}"))
        funnel.dropped(Drop(f"t{number}", "read", f"too short: {number} bytes"))
    step = funnel.step("read")
    assert len(step.dropped) == MOST_REASONS + 1
    assert step.dropped["too short"] == 3 * MOST_REASONS
    assert sum(step.dropped.values()) == step.num_dropped == step.num_in == 6 * MOST_REASONS
    rows = funnel.table()
    assert len(rows) == ROWS + 2 and rows[-1][1].endswith("further reasons")
    assert sum(row[4] for row in rows[1:]) == rows[0][4]


def test_the_sample_is_bounded_seeded_and_fair():
    kept: Counter[str] = Counter()
    for seed in range(400):
        funnel = Funnel(seed=seed, kept=5)
        for number in range(20):
            funnel.dropped(Drop(str(number), "quality", "too short"))
        sample = [drop.source for drop in funnel.samples()]
        assert len(set(sample)) == 5
        kept.update(sample)
    assert len(kept) == 20 and all(60 < count < 140 for count in kept.values())  # 100 expected, 4 sigma is 35


def test_counts_are_json_and_notes_are_kept():
    funnel = Funnel()
    funnel.note("clean", "line ends changed", 3)
    funnel.note("clean", "nothing", 0)
    assert funnel.as_dict() == {"steps": [{
        "step": "clean", "num_in": 0, "num_out": 0, "num_dropped": 0, "characters_in": 0, "characters_out": 0,
        "dropped": {}, "notes": {"line ends changed": 3},
    }]}  # fmt: skip
