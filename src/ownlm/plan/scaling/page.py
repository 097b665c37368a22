"""The fits as a page: one HTML file with SVG plots, no script, nothing loaded from elsewhere.

Every plot is log-log: loss over compute with the frontier, over size, over data, and measured over fitted loss.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ownlm.plan.scaling import kaplan
from ownlm.plan.scaling.summary import Summary
from ownlm.runtime.files import write_atomic
from ownlm.train.ladder.result import LadderRun

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 300, 56, 42
_COLORS = ("#1b6ca8", "#c8553d", "#588b3f", "#8e5ea2", "#b8860b", "#2f8f8f", "#777777")

Line = tuple[str, list[tuple[float, float]], bool]
"""(name, points, whether they are marks and not a line)."""


def write(path: Path, runs: Sequence[LadderRun], found: Summary) -> None:
    write_atomic(path, render(runs, found))


def render(runs: Sequence[LadderRun], found: Summary) -> str:
    """The whole page."""
    rows = "".join(
        f"<tr><td>{html.escape(r.name)}</td><td>{_number(r.value)}</td><td>{_number(r.low)} … {_number(r.high)}</td>"
        f"<td>{r.published}</td><td>{html.escape(r.note)}</td></tr>"
        for r in found.rows
    )
    text = "".join(f"<p>{html.escape(line)}</p>" for line in found.sentences())
    plots = "".join(f"<figure>{plot}</figure>" for plot in _plots(runs, found))
    style = "body{font:15px system-ui;max-width:60em;margin:2em auto;padding:0 1em}figure{display:inline-block;margin:6px}td,th{padding:2px 10px;text-align:left}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Scaling laws</title><style>{style}</style>'
        f"<h1>Scaling laws from {len(runs)} runs</h1>{plots}<table><tr><th>law</th><th>exponent</th><th>95 % interval</th>"
        f"<th>published</th><th>points</th></tr>{rows}</table>{text}</html>"
    )


def _plots(runs: Sequence[LadderRun], found: Summary) -> list[str]:
    sizes = sorted({r.parameters for r in runs})
    by_size: list[Line] = [(f"{size:,}", sorted((r.compute, r.loss) for r in runs if r.parameters == size), False) for size in sizes]  # fmt: skip
    lengths = sorted({r.tokens for r in runs})
    by_length: list[Line] = [(f"{length:,}", sorted((r.non_embedding, r.loss) for r in runs if r.tokens == length), False) for length in lengths]  # fmt: skip
    by_data: list[Line] = [(f"{size:,}", sorted((r.tokens, r.loss) for r in runs if r.parameters == size), False) for size in sizes]  # fmt: skip
    edge = [(r.compute, r.loss) for r in kaplan.frontier(runs)]
    fits: dict[str, Callable[[float], float] | None] = {
        "compute": found.kaplan.by_compute, "size": found.kaplan.by_size, "data": found.kaplan.by_data}  # fmt: skip
    fitted = [(found.parametric.loss(p.parameters, p.tokens), p.loss) for p in found.parametric.points]
    ends = [(min(min(pair) for pair in fitted),) * 2, (max(max(pair) for pair in fitted),) * 2]
    return [
        plot(
            "Loss over compute, by parameters",
            "6 N D without embedding",
            [*by_size, *_line(fits["compute"], edge)],
        ),
        plot(
            "Loss over size, by tokens",
            "parameters without embedding",
            [*by_length, *_line(fits["size"], [(r.non_embedding, r.loss) for r in runs])],
        ),
        plot(
            "Loss over data, by parameters",
            "tokens",
            [*by_data, *_line(fits["data"], [(float(r.tokens), r.loss) for r in runs])],
        ),
        plot(
            "Measured over fitted loss",
            "E + A/N^a + B/D^b",
            [("equal", list(ends), False), ("runs", fitted, True)],
        ),
    ]


def _line(law: Callable[[float], float] | None, over: Sequence[tuple[float, float]]) -> list[Line]:
    if law is None:
        return []
    low, high = min(x for x, _ in over), max(x for x, _ in over)
    return [("power law", [(low, law(low)), (high, law(high))], False)]


def plot(title: str, across: str, lines: Sequence[Line]) -> str:
    """One log-log SVG. Points that are not positive are an error of the caller."""
    every = [point for _, points, _ in lines for point in points]
    xs, ys = [math.log10(x) for x, _ in every], [math.log10(y) for _, y in every]
    x0, x1, y0, y1 = min(xs), max(xs) + 1e-9, min(ys) - 0.01, max(ys) + 0.01

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (math.log10(x) - x0) / (x1 - x0) * (_WIDTH - _LEFT - 12),
            24 + (y1 - math.log10(y)) / (y1 - y0) * (_HEIGHT - 24 - _BOTTOM),
        )

    parts = [f'<text x="{_LEFT}" y="14" font-weight="600">{html.escape(title)}</text>']
    parts += [f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{html.escape(across)}</text>']
    for value in (10**x0, 10 ** ((x0 + x1) / 2), 10**x1):
        x, _ = place(value, 10**y0)
        parts.append(f'<text x="{x:.0f}" y="{_HEIGHT - 24}" text-anchor="middle">{value:.2g}</text>')
    for value in (10**y0, 10 ** ((y0 + y1) / 2), 10**y1):
        _, y = place(10**x0, value)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{value:.3g}</text>')
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - 12}" stroke="#ddd"/>')
    for number, (name, points, marks) in enumerate(lines):
        color = "#000" if name in ("power law", "equal") else _COLORS[number % len(_COLORS)]
        placed = [place(x, y) for x, y in points]
        if not marks and len(placed) > 1:
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            dash = ' stroke-dasharray="4 3"' if color == "#000" else ""
            parts.append(f'<polyline points="{way}" fill="none" stroke="{color}"{dash}/>')
        if color != "#000":
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"><title>{html.escape(name)}</title></circle>' for x, y in placed]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="system-ui" font-size="11" '
        f'role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
