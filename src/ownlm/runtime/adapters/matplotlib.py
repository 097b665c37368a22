"""Charts as files (PNG, SVG or PDF, by the ending), drawn by matplotlib when one is asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ownlm.errors import MissingDependency, UsageError
from ownlm.runtime.files import write_atomic

ENDINGS = (".png", ".svg", ".pdf")
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Name -> (x values, y values)."""


@contextmanager
def figure(path: Path | str, size: tuple[float, float] = (7.0, 4.5), *, columns: int = 1) -> Iterator[Any]:
    """Inside, matplotlib axes (a list of them when columns > 1); outside, the file is written, whole or not at all.

    Raises MissingDependency without matplotlib, UsageError for another ending.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            "A picture needs a file ending that says its format.", str(path), f"use {', '.join(ENDINGS)}"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency(
            "Drawing needs matplotlib.", str(error), 'pip install "ownlm[plot]"'
        ) from error
    drawing = Figure(figsize=size, layout="constrained")
    axes = drawing.subplots(1, columns)
    yield axes
    for one in [axes] if columns == 1 else axes:
        one.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format=path.suffix[1:].lower(), dpi=150)
    write_atomic(path, buffer.getvalue())


def lines(path: Path | str, series: Series, *, title: str, x: str, y: str, log: str = "") -> None:
    """One line per series; log: any of "x", "y", "xy"."""
    with figure(path) as axes:
        for name, (across, up) in series.items():
            axes.plot(across, up, label=name, marker="o" if len(across) < 20 else None, markersize=3)
        axes.set(title=title, xlabel=x, ylabel=y)
        if "x" in log:
            axes.set_xscale("log")
        if "y" in log:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        if len(series) > 1:
            axes.legend(fontsize=8)


def bars(path: Path | str, groups: Mapping[str, Mapping[str, float]], *, title: str, y: str) -> None:
    """groups: name of a bar's color -> {name of the place: height}."""
    places = list(dict.fromkeys(place for heights in groups.values() for place in heights))
    width = 0.8 / max(1, len(groups))
    with figure(path, (max(6.0, 0.25 * len(places) * len(groups) + 3), 4.5)) as axes:
        for number, (name, heights) in enumerate(groups.items()):
            across = [n + number * width for n, place in enumerate(places) if place in heights]
            axes.bar(across, [heights[p] for p in places if p in heights], width, label=name)
        axes.set_xticks(
            [n + 0.4 - width / 2 for n in range(len(places))], places, rotation=45, ha="right", fontsize=8
        )
        axes.set(title=title, ylabel=y)
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8)
