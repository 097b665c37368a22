"""Two versions of a data set side by side: which documents came, went or changed, and what was done differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from ownlm.data.flow.execute import read_output
from ownlm.runtime import artifact

MOST_SHOWN = 20


def compare(old: Path, new: Path) -> dict[str, Any]:
    """Counts and first examples of added, removed and changed documents, and the changed settings.

    Documents are told apart by id, texts by a 128-bit hash; memory is about 300 bytes per document of both.
    """
    before, after = _texts(old), _texts(new)
    added = [key for key in after if key not in before]
    removed = [key for key in before if key not in after]
    changed = [key for key, (_, _, digest) in after.items() if key in before and before[key][2] != digest]
    manifests = artifact.read(old), artifact.read(new)
    return {
        "old": {"folder": str(old), "digest": manifests[0].digest, "num_documents": len(before)},
        "new": {"folder": str(new), "digest": manifests[1].digest, "num_documents": len(after)},
        "same": manifests[0].digest == manifests[1].digest,
        "num_added": len(added), "num_removed": len(removed), "num_changed": len(changed),
        "added": _rows(added, after), "removed": _rows(removed, before), "changed": _rows(changed, after),
        "by_collection": _by_collection(added, removed, changed, before, after),
        "settings": _settings(manifests[0].config, manifests[1].config),
    }  # fmt: skip


_Texts = dict[str, tuple[str, str, bytes]]  # id -> source, collection, hash of the text


def _texts(folder: Path) -> _Texts:
    return {document.id: (document.source, str(document.meta.get("collection", "")),
                          xxhash.xxh3_128_digest(document.text.encode("utf-8", "surrogatepass")))
            for document in read_output(folder)}  # fmt: skip


def _rows(keys: list[str], texts: _Texts) -> list[dict[str, str]]:
    return [{"id": key, "source": texts[key][0]} for key in keys[:MOST_SHOWN]]


def _by_collection(
    added: list[str], removed: list[str], changed: list[str], before: _Texts, after: _Texts
) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for kind, keys, texts in (
        ("added", added, after),
        ("removed", removed, before),
        ("changed", changed, after),
    ):
        for key in keys:
            counts.setdefault(texts[key][1], Counter())[kind] += 1
    return {name: dict(counter) for name, counter in sorted(counts.items())}


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in sorted({*old, *new} - {"steps"}):
        if old.get(key) != new.get(key):
            lines.append(f"{key}: {old.get(key)!r} -> {new.get(key)!r}"[:400])
    steps = [
        {name: options for step in config.get("steps", ()) for name, options in step.items()}
        for config in (old, new)
    ]
    for name in sorted({*steps[0], *steps[1]}):
        if steps[0].get(name) != steps[1].get(name):
            lines.append(
                f"step {name}: {steps[0].get(name, 'absent')!r} -> {steps[1].get(name, 'absent')!r}"[:400]
            )
    return lines
