"""What the tests of this folder share: everything that a source gives, in order."""

from __future__ import annotations

import json
from dataclasses import asdict

from ownlm.data.limits import Limits
from ownlm.data.sources.part import Part, Source, read_unit, split, units
from ownlm.records import Document, Drop


def read(path, part_bytes=16 << 20, limits=None, **options):
    """(documents, drops). Every part goes through JSON, as it does on its way to a worker."""
    documents, drops = [], []
    limits = limits or Limits()
    paths = str(path) if not isinstance(path, (list, tuple)) else tuple(map(str, path))
    for part in split(Source(path=paths, **options), part_bytes):
        values = json.loads(json.dumps(asdict(part)))
        for unit in units(Part(**{**values, "paths": tuple(values["paths"])}), limits):
            items = [unit] if isinstance(unit, Drop) else list(read_unit(unit, limits))
            assert items, f"nothing came of {unit}"
            for item in items:
                (documents if isinstance(item, Document) else drops).append(item)
    return documents, drops


def reasons(drops):
    return {drop.source: drop.reason for drop in drops}
