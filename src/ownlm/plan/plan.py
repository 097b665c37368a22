"""A finished plan: its numbers, how they look, and how they compare with what was measured."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ownlm.errors import ArtifactError, UsageError
from ownlm.plan.quantity import Comparison, Quantity, human


@dataclass(frozen=True, slots=True)
class Plan:
    """Every number of a build with its formula. `plan["steps"]` is a value; counts are whole numbers."""

    quantities: tuple[Quantity, ...]
    notices: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        return self.quantity(name).value

    def __contains__(self, name: str) -> bool:
        return any(q.name == name for q in self.quantities)

    def quantity(self, name: str) -> Quantity:
        """Raises UsageError with the nearest name when there is none of this name."""
        for quantity in self.quantities:
            if quantity.name == name:
                return quantity
        names = [q.name for q in self.quantities]
        near = difflib.get_close_matches(name, names, 1)
        raise UsageError(
            "The plan has no such number.",
            name,
            f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}",
        )

    def integer(self, name: str) -> int:
        """A count: depth, steps, sft_steps ..."""
        return int(self[name])

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "quantities": [q.as_dict() for q in self.quantities],
            "notices": list(self.notices),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Plan:
        """Raises ArtifactError when `stored` is not what `as_dict` gives."""
        try:
            if stored["format"] != 1:
                raise ValueError(f"format {stored['format']}")
            return cls(tuple(Quantity(**row) for row in stored["quantities"]), tuple(stored["notices"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("This is not a stored plan.", f"{error}", "run `ownlm plan` again") from error

    def table(self, measured: Mapping[str, float] | None = None) -> Table:
        """For a terminal; with `measured`, predicted beside measured with their ratio."""
        beside = {row.name: row for row in self.compare(measured)} if measured else {}
        table = Table(box=None, pad_edge=False, title="plan", title_justify="left")
        table.add_column("number", style="bold")
        table.add_column("value", justify="right")
        if beside:
            table.add_column("measured", justify="right")
            table.add_column("ratio", justify="right")
        table.add_column("formula")
        table.add_column("source", style="dim")
        for q in self.quantities:
            row = beside.get(q.name)
            extra = ([human(row.measured, q.unit), f"{row.ratio:.2f}"] if row else ["", ""]) if beside else []
            table.add_row(q.name, q.text(), *extra, q.formula, q.source)
        for notice in self.notices:
            table.caption = f"{table.caption}\n{notice}" if table.caption else notice
        return table

    def compare(self, measured: Mapping[str, float]) -> list[Comparison]:
        """Predicted beside measured, in the plan's order; ratio = measured / predicted (inf when 0 was predicted).

        Raises UsageError for a measured name that the plan does not have.
        """
        for name in measured:
            self.quantity(name)
        return [
            Comparison(q.name, q.unit, q.value, float(measured[q.name]), _ratio(measured[q.name], q.value))
            for q in self.quantities
            if q.name in measured
        ]


def _ratio(measured: float, predicted: float) -> float:
    if predicted:
        return measured / predicted
    return 1.0 if measured == 0 else float("inf")
