"""The report of a data snapshot: one HTML page without scripts, rendered from the folder's own files.

The funnel per step and reason with samples of what was dropped, what the data consists of, what could not be read,
and the settings that made it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ownlm.data import store
from ownlm.data.flow.execute import read_output
from ownlm.records import Document
from ownlm.runtime import artifact
from ownlm.runtime.files import read_json
from ownlm.runtime.progress import amount

SAMPLES = 5  # shown per step and reason
QUARANTINED = 40  # rows shown
_MOST_GROUPS = 12  # bars of one chart; the others are summed up in one


@dataclass(slots=True)
class Content:
    """What the kept documents consist of."""

    lengths: Counter[int] = field(default_factory=Counter)  # power of two of the characters -> documents
    languages: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)  # tenth of quality_score -> documents
    samples: list[Document] = field(default_factory=list)

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Content:
        found = cls()
        for number, document in enumerate(documents):
            found.lengths[max(0, int(math.log2(len(document.text) or 1)))] += 1
            language = document.meta.get("language")
            if isinstance(language, str):
                found.languages[language] += 1
            url = document.meta.get("url")
            if isinstance(url, str) and "://" in url:
                found.hosts[url.split("/", 3)[2][:80]] += 1
            score = document.meta.get("quality_score")
            if isinstance(score, (int, float)):
                found.scores[min(9, max(0, int(score * 10)))] += 1
            if (
                number & (number - 1) == 0 and len(found.samples) < 12
            ):  # documents 0, 1, 2, 4, 8 ...: spread, no luck
                found.samples.append(document)
        return found


def facts(folder: Path) -> dict[str, Any]:
    """Everything that the page shows, as JSON values but for the documents in `content`."""
    manifest = artifact.read(folder)
    saved = read_json(folder / "funnel.json")
    steps = saved["funnel"]["steps"]
    samples: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in store.read_rows(folder / "dropped.jsonl.zst"):
        kept = samples.setdefault((row["step"], row["reason"].partition(":")[0]), [])
        if len(kept) < SAMPLES:
            kept.append(row)
    content = Content.of(read_output(folder))
    quarantine = Counter(
        row["reason"].partition(":")[0] for row in store.read_rows(folder / "quarantine.jsonl.zst")
    )
    shown = [
        row
        for _, row in zip(range(QUARANTINED), store.read_rows(folder / "quarantine.jsonl.zst"), strict=False)
    ]
    return {
        "manifest": manifest, "saved": saved, "steps": [_step(step, samples, steps) for step in steps],
        "settings": (folder / "pipeline.yaml").read_text(encoding="utf-8"), "content": content,
        "charts": _charts(saved, content), "quarantine": _bars(quarantine), "quarantined": shown,
        "parts": read_json(folder / "parts.json"),
    }  # fmt: skip


def render(folder: Path) -> str:
    """The page. Raises ArtifactError when the folder is not a data snapshot."""
    environment = Environment(loader=PackageLoader("ownlm.data.flow", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["amount"] = amount
    environment.filters["size"] = size
    return environment.get_template("report.html.jinja").render(**facts(folder))


def size(num_bytes: float) -> str:
    """Bytes as a reader wants them: 950 B, 12.3 MB."""
    for limit, suffix in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= limit:
            return f"{num_bytes / limit:.3g} {suffix}"
    return f"{num_bytes:.0f} B"


def _step(
    step: Mapping[str, Any],
    samples: Mapping[tuple[str, str], list[Mapping[str, Any]]],
    steps: list[Mapping[str, Any]],
) -> dict[str, Any]:
    first = max(steps[0]["num_in"], 1)
    reasons = sorted(step["dropped"].items(), key=lambda item: (-item[1], item[0]))
    return {
        **step, "in_share": step["num_in"] / first, "out_share": step["num_out"] / first,
        "removed_characters": step["characters_in"] - step["characters_out"],
        "reasons": [{"name": name, "count": count, "share": count / max(step["num_dropped"], 1),
                     "samples": samples.get((step["step"], name), [])} for name, count in reasons],
    }  # fmt: skip


def _charts(saved: Mapping[str, Any], content: Content) -> list[dict[str, Any]]:
    charts = [
        {"title": "Collections, by bytes", "unit": "bytes",
         "bars": _bars({name or "(none)": entry["num_bytes"] for name, entry in saved["collections"].items()})},
        {"title": "Licences, by documents", "unit": "", "bars": _bars(saved["licences"])},
        {"title": "Length of the documents, in characters", "unit": "",
         "bars": _in_order([(f"{amount(1 << power)} to {amount(1 << (power + 1))}", count)
                            for power, count in sorted(content.lengths.items())])},
    ]  # fmt: skip
    if content.languages:
        charts.append({"title": "Languages, by documents", "unit": "", "bars": _bars(content.languages)})
    if content.scores:
        bars = [(f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}", content.scores[tenth]) for tenth in range(10)]
        charts.append({"title": "Quality score", "unit": "", "bars": _in_order(bars)})
    if content.hosts:
        charts.append({"title": "Hosts, by documents", "unit": "", "bars": _bars(content.hosts)})
    return charts


def _bars(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = rows[_MOST_GROUPS:]
    rows = rows[:_MOST_GROUPS]
    if rest:
        rows.append((f"{len(rest)} others", sum(count for _, count in rest)))
    return _in_order(rows)


def _in_order(rows: list[tuple[str, int]]) -> list[dict[str, Any]]:
    most, total = max((count for _, count in rows), default=1), sum(count for _, count in rows)
    return [
        {"name": name, "count": count, "width": count / max(most, 1), "share": count / max(total, 1)}
        for name, count in rows
    ]
