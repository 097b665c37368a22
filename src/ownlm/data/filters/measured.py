"""How a rule states what it measured: one line with the rule, the value and the threshold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0.0)]


def over(rule: str, part: float, whole: float, most: float | None) -> str:
    """The reason to drop when part / whole exceeds `most`, else "". A rule that is None or has no whole is passed."""
    if most is None or not whole or part / whole <= most:
        return ""
    return f"{rule}: {part / whole:.4g}, at most {most:g}"


def under(rule: str, part: float, whole: float, least: float | None) -> str:
    """The reason to drop when part / whole is below `least`, else "". A rule that is None or has no whole is passed."""
    if least is None or not whole or part / whole >= least:
        return ""
    return f"{rule}: {part / whole:.4g}, at least {least:g}"
