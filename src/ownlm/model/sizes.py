"""The size table: what the published configurations come to, by formula and by building the module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ownlm.model.adapters.families.table import FAMILIES
from ownlm.model.published import PUBLISHED, SIZES


@dataclass(frozen=True, slots=True)
class SizeRow:
    name: str
    parameters: int
    """By formula."""
    published: float
    """As its owners round it."""
    active_parameters: int
    """Weights that one token is multiplied with, the output layer included."""
    cache_bytes_per_token: int
    """At 2 bytes a number; 0: nothing grows."""
    module_parameters: int | None
    """Counted on the module, when asked for."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def row(name: str, *, count_module: bool = False) -> SizeRow:
    """One model of PUBLISHED, read by its family and built on the meta device: no memory, no random numbers."""
    raw = PUBLISHED[name]
    family = FAMILIES[raw["model_type"]]
    config = family.read(raw, name)
    with torch.device("meta"):
        model: Any = family.build(config)
    plan = getattr(model, "architecture", None)
    # Of models that are no stack of layers: 2 operations forward, 4 backward, per weight.
    active = model.flops_per_token(0) // 6 if plan is None else plan.active_parameters()
    counted = sum(p.numel() for p in model.parameters()) if count_module else None
    return SizeRow(name, model.num_parameters(), SIZES[name], active, model.cache_bytes_per_token(2), counted)


def table(rows: Sequence[SizeRow]) -> str:
    """Aligned columns."""
    checked = any(r.module_parameters is not None for r in rows)
    head = f"{'model':<16}{'parameters':>18}{'published':>11}{'active per token':>18}{'cache per token':>17}"
    lines = [head + (f"{'module':>18}" if checked else "")]
    for r in rows:
        cache = f"{r.cache_bytes_per_token / 1024:,.1f} KiB" if r.cache_bytes_per_token else "constant"
        line = (
            f"{r.name:<16}{r.parameters:>18,}{_short(r.published):>11}{r.active_parameters:>18,}{cache:>17}"
        )
        lines.append(line + (f"{r.module_parameters:>18,}" if r.module_parameters is not None else ""))
    return "\n".join(lines)


def _short(number: float) -> str:
    return f"{number / 1e9:.4g} B" if number >= 1e9 else f"{number / 1e6:.4g} M"
