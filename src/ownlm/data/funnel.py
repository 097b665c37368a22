"""How many documents entered and left each step, why the others did not, and a kept sample of those.

For every step: in = out + dropped, exactly. A reason is "category" or "category: detail"; counts are per
category, so that their number stays bounded. `note` counts what was changed without dropping anything.

The sample keeps, per step and category, the drops with the smallest hashes ("bottom-k"): every drop equally likely,
and the funnels of several parts merged give the funnel of the whole, in whatever order the parts were done.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

from ownlm.records import Drop

MOST_REASONS = 100  # categories counted apart per step (a folder may hold any number of suffixes)
OTHER = "other reasons"
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

    def count_drop(self, category: str, count: int = 1) -> None:
        if category not in self.dropped and len(self.dropped) >= MOST_REASONS:
            category = OTHER
        self.dropped[category] = self.dropped.get(category, 0) + count


class Funnel:
    """Counts per step in the order in which the steps first appear; at most `kept` drops per step and category."""

    def __init__(self, seed: int = 0, kept: int = 20) -> None:
        self.steps: dict[str, Step] = {}
        self._kept = kept
        self._seed = seed
        # per step and category a heap whose first entry is the largest hash kept: (-hash, drop as a list)
        self._samples: dict[tuple[str, str], list[tuple[int, list[str]]]] = {}

    def step(self, name: str) -> Step:
        return self.steps.setdefault(name, Step())

    def passed(self, name: str, characters_in: int, characters_out: int) -> None:
        """One document went through a step, of that length in characters before and after."""
        step = self.step(name)
        step.num_in += 1
        step.num_out += 1
        step.characters_in += characters_in
        step.characters_out += characters_out

    def dropped(self, drop: Drop, characters: int = 0) -> None:
        step = self.step(drop.step)
        category = drop.reason.partition(":")[0]
        step.num_in += 1
        step.num_dropped += 1
        step.characters_in += characters
        step.count_drop(category)
        self._sample(drop.step, category, [drop.source, drop.reason, drop.sample])

    def note(self, name: str, change: str, count: int = 1) -> None:
        if count:
            notes = self.step(name).notes
            notes[change] = notes.get(change, 0) + count

    def _sample(self, step: str, category: str, row: list[str]) -> None:
        named = "\0".join((str(self._seed), step, *row)).encode("utf-8", "surrogatepass")
        entry = (-xxhash.xxh3_64_intdigest(named), row)
        heap = self._samples.setdefault((step, category), [])
        if len(heap) < self._kept:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def samples(self) -> Iterator[Drop]:
        for step, category in sorted(self._samples):
            for _, row in sorted(self._samples[step, category], key=lambda entry: (-entry[0], entry[1])):
                yield Drop(row[0], step, row[1], row[2])

    def merge(self, saved: Mapping[str, Any]) -> None:
        """Add a funnel that `saved` wrote."""
        for facts in saved["steps"]:
            step = self.step(facts["step"])
            for name in ("num_in", "num_out", "num_dropped", "characters_in", "characters_out"):
                setattr(step, name, getattr(step, name) + facts[name])
            for category, count in facts["dropped"].items():
                step.count_drop(category, count)
            for change, count in facts["notes"].items():
                step.notes[change] = step.notes.get(change, 0) + count
        for name, category, rows in saved.get("samples", ()):
            for row in rows:
                self._sample(name, category, row)

    def saved(self) -> dict[str, Any]:
        """JSON with everything that `merge` needs."""
        samples = [[step, category, [row for _, row in sorted(heap, reverse=True)]]
                   for (step, category), heap in sorted(self._samples.items())]  # fmt: skip
        return {**self.as_dict(), "samples": samples}

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


def unbalanced(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for every step that lost or invented documents: in = out + dropped, and in = out of the step before."""
    problems, before = [], None
    for step in steps:
        if step["num_in"] != step["num_out"] + step["num_dropped"]:
            problems.append(
                f"{step['step']}: {step['num_in']} in, {step['num_out']} out, {step['num_dropped']} dropped"
            )
        if before is not None and step["num_in"] != before:
            problems.append(
                f"{step['step']}: {step['num_in']} in, but {before} came out of the step before it"
            )
        before = step["num_out"]
    return problems
