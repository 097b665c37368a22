"""A number of a plan: what it is, in which unit, by which formula, and who said so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Source = Literal["given", "override", "derived", "measured", "fitted", "rule"]
# given: the user's choice or a fact of the data · override: a derived value that the user set · derived: by the
# formula · measured: on this machine, or a table of measurements · fitted: a law fitted to runs · rule: a choice


@dataclass(frozen=True, slots=True)
class Quantity:
    """`formula` uses the names of other quantities of the same plan where it can."""

    name: str
    value: float
    unit: str
    formula: str
    source: Source

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The value for a reader: 1,234 · 5.1 M · 1.234."""
        return human(self.value, self.unit)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A predicted number beside the measured one; ratio = measured / predicted."""

    name: str
    unit: str
    predicted: float
    measured: float
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def human(value: float, unit: str) -> str:
    if unit == "bytes":
        for name, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if value >= size:
                return f"{value / size:.1f} {name}"
        return f"{value:.0f} bytes"
    if value == int(value) and abs(value) < 1e6:
        number = f"{int(value):,}"
    elif abs(value) >= 1e6:
        power = next((p for p in ((1e12, "T"), (1e9, "G"), (1e6, "M")) if abs(value) >= p[0]), (1.0, ""))
        number = f"{value / power[0]:.2f} {power[1]}"
    else:
        number = f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{number} {unit}".strip()
