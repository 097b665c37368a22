"""How many documents entered and left each step, why the others did not, and a kept sample of those.

For every step: in = out + dropped, exactly. A reason is "category" or "category: detail"; counts are per
category, so that their number stays bounded. `note` counts what was changed without dropping anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ownlm.records import Document, Drop
from ownlm.runtime import seed as seeds

SAMPLE_CHARACTERS = 300
MOST_REASONS = 100  # categories counted apart per step (a folder may hold any number of suffixes)
ROWS = 12  # reasons that `table` shows per step


@dataclass(slots=True)
class Step:
    """The counts of one step. `characters` are characters of text."""

    num_in: int = 0
    num_out: int = 0
    num_dropped: int = 0
    characters_in: int = 0
    characters_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # category -> count
    notes: dict[str, int] = field(default_factory=dict)  # change -> count


class Funnel:
    """Counts per step in the order in which the steps first appear; at most `kept` drops per step and category."""

    def __init__(self, seed: int = 0, kept: int = 20) -> None:
        self.steps: dict[str, Step] = {}
        self._kept = kept
        self._seed = seed
        self._samples: dict[tuple[str, str], list[Drop]] = {}
        self._random: dict[tuple[str, str], np.random.Generator] = {}

    def step(self, name: str) -> Step:
        return self.steps.setdefault(name, Step())

    def passed(self, name: str, document: Document, before: int | None = None) -> None:
        """One document went through; `before` is its length in characters when the step changed it."""
        step = self.step(name)
        step.num_in += 1
        step.num_out += 1
        step.characters_in += len(document.text) if before is None else before
        step.characters_out += len(document.text)

    def dropped(self, drop: Drop, characters: int = 0) -> None:
        step = self.step(drop.step)
        category = drop.reason.partition(":")[0]
        step.num_in += 1
        step.num_dropped += 1
        step.characters_in += characters
        if category not in step.dropped and len(step.dropped) >= MOST_REASONS:
            category = "other reasons"
        step.dropped[category] = step.dropped.get(category, 0) + 1
        self._sample(drop, category, step.dropped[category])

    def note(self, name: str, change: str, count: int = 1) -> None:
        if count:
            notes = self.step(name).notes
            notes[change] = notes.get(change, 0) + count

    def _sample(self, drop: Drop, category: str, seen: int) -> None:
        """Reservoir sampling (Vitter 1985, algorithm R): every drop of a category is kept equally likely."""
        key = (drop.step, category)
        kept = self._samples.setdefault(key, [])
        if len(kept) < self._kept:
            kept.append(drop)
            return
        random = self._random.setdefault(key, seeds.generator(self._seed, "funnel", *key))
        at = int(random.integers(seen))
        if at < self._kept:
            kept[at] = drop

    def samples(self) -> Iterator[Drop]:
        for key in sorted(self._samples):
            yield from self._samples[key]

    def as_dict(self) -> dict[str, Any]:
        """JSON: {"steps": [{"step", "num_in", "num_out", "num_dropped", ..., "dropped": {reason: count}}]}."""
        steps = []
        for name, step in self.steps.items():
            counts = {key: dict(sorted(value.items())) if isinstance(value, dict) else value
                      for key, value in asdict(step).items()}  # fmt: skip
            steps.append({"step": name, **counts})
        return {"steps": steps}

    def table(self) -> list[tuple[str, str, int, int, int]]:
        """Rows (step, reason, in, out, dropped): one per step, then its ROWS largest reasons with only `dropped`."""
        rows: list[tuple[str, str, int, int, int]] = []
        for name, step in self.steps.items():
            rows.append((name, "", step.num_in, step.num_out, step.num_dropped))
            reasons = sorted(step.dropped.items(), key=lambda item: (-item[1], item[0]))
            rows += [(name, reason, 0, 0, count) for reason, count in reasons[:ROWS]]
            if reasons[ROWS:]:
                rest = sum(count for _, count in reasons[ROWS:])
                rows.append((name, f"{len(reasons) - ROWS} further reasons", 0, 0, rest))
        return rows


def drop_of(document: Document, step: str, reason: str) -> Drop:
    return Drop(document.source, step, reason, document.text[:SAMPLE_CHARACTERS])


def count_read(items: Iterator[Document | Drop], funnel: Funnel) -> Iterator[Document]:
    """The documents of a reader; its drops are counted and kept in the funnel."""
    for item in items:
        if isinstance(item, Drop):
            funnel.dropped(item)
        else:
            funnel.passed("read", item)
            yield item
