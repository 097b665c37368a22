"""The report of a data snapshot: one HTML page without scripts, rendered from the folder's own files.

The funnel per step and reason with samples of what was dropped, what the data consists of, what could not be read,
and the settings that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ownlm.data import store
from ownlm.records import Document
from ownlm.runtime import artifact
from ownlm.runtime.files import read_json
from ownlm.runtime.progress import amount

SAMPLES = 5  # shown per step and reason
QUARANTINED = 40  # rows shown
_MOST_GROUPS = 12  # bars of one chart; the others are summed up in one


def kept_samples(folder: Path, count: int = 12) -> list[Document]:
    """The first documents of files spread evenly over the folder."""
    paths = sorted((folder / "documents").glob("*.jsonl.zst"))
    chosen = paths[:: max(1, -(-len(paths) // count))]
    each = -(-count // max(1, len(chosen)))
    return [document for path in chosen for document in islice(store.read_documents(path), each)][:count]


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
    quarantine = Counter(
        row["reason"].partition(":")[0] for row in store.read_rows(folder / "quarantine.jsonl.zst")
    )
    shown = [
        row
        for _, row in zip(range(QUARANTINED), store.read_rows(folder / "quarantine.jsonl.zst"), strict=False)
    ]
    return {
        "manifest": manifest, "saved": saved, "steps": [_step(step, samples, steps) for step in steps],
        "settings": (folder / "pipeline.yaml").read_text(encoding="utf-8"), "kept": kept_samples(folder),
        "charts": _charts(saved), "quarantine": _bars(quarantine), "quarantined": shown,
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


def _charts(saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = sorted((int(bits), count) for bits, count in saved["lengths"].items())
    charts = [
        {"title": "Collections, by bytes", "unit": "bytes",
         "bars": _bars({name or "(none)": count for name, count in saved["collection_bytes"].items()})},
        {"title": "Licences, by documents", "unit": "", "bars": _bars(saved["licences"])},
        {"title": "Length of the documents, in characters", "unit": "",
         "bars": _in_order([(f"{amount(1 << bits >> 1)} to {amount(1 << bits)}", count) for bits, count in lengths])},
    ]  # fmt: skip
    if saved["languages"]:
        charts.append({"title": "Languages, by documents", "unit": "", "bars": _bars(saved["languages"])})
    if saved["scores"]:
        bars = [
            (f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}", saved["scores"].get(str(tenth), 0))
            for tenth in range(10)
        ]
        charts.append({"title": "Quality score", "unit": "", "bars": _in_order(bars)})
    if saved["hosts"]:
        charts.append({"title": "Hosts, by documents", "unit": "", "bars": _bars(saved["hosts"])})
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
