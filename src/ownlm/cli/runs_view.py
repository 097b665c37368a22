"""A run in the terminal: a curve in braille, the numbers that matter, the last events; and the same as one line."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ownlm.runtime.progress import amount, clock
from ownlm.train.runs import Run

_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, [row][column]
_STYLES = {
    "running": "green",
    "finished": "cyan",
    "failed": "bold red",
    "killed": "bold red",
    "interrupted": "yellow",
}


def plain(text: str, most: int = 300) -> str:
    """One line without control characters; what is cut says so."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= most else f"{shown[:most]} ... ({len(shown)} characters)"


def stretches(values: list[float], width: int) -> list[tuple[float, float]]:
    """(lowest, highest) of each of at most `width` equal stretches; what is no number is left out."""
    data = np.asarray(values, dtype=np.float64)
    out = []
    for part in np.array_split(data, min(width, len(data))) if len(data) else []:
        part = part[np.isfinite(part)]
        out.append((float(part.min()), float(part.max())) if len(part) else (math.nan, math.nan))
    return out


def sparkline(values: list[float], width: int) -> str:
    """The highest of every stretch, so that a single spike shows."""
    tops = [high for _, high in stretches(values, width)]
    known = [top for top in tops if math.isfinite(top)]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(
        " " if not math.isfinite(top) else _BARS[int((top - low) / span * 7.999) if span else 0]
        for top in tops
    )


def curve(values: list[float], width: int, height: int) -> list[str]:
    """`height` lines of `width` characters: every dot column is the range of its stretch."""
    pairs = stretches(values, 2 * width)
    known = [value for pair in pairs for value in pair if math.isfinite(value)]
    if not known:
        return [" " * width] * height
    low, span = min(known), max(known) - min(known) or 1.0
    cells = np.zeros((height, width), dtype=np.int64)
    rows = 4 * height
    # A short run fills the width too: each of its steps is as wide as it must be.
    for x in range(2 * width):
        least, most = pairs[x * len(pairs) // (2 * width)]
        if not math.isfinite(least):
            continue
        top = int((1 - (most - low) / span) * (rows - 1) + 0.5)
        bottom = int((1 - (least - low) / span) * (rows - 1) + 0.5)
        for y in range(top, bottom + 1):
            cells[y // 4, x // 2] |= _DOTS[y % 4][x % 2]
    return ["".join(chr(0x2800 + int(cell)) for cell in line) for line in cells]


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def line(run: Run) -> str:
    """For a log file, or a reader that is no terminal."""
    steps = run.steps
    if not steps["step"]:
        return f"{plain(run.name)}  {run.status}  no step yet"
    parts = [
        plain(run.name), run.status, f"step {run.last_step}/{run.num_steps}", f"loss {number(steps['loss'][-1])}",
        f"lr {number(steps['learning_rate'][-1], 3)}", f"grad {number(steps['grad_norm'][-1], 3)}",
        f"{amount(steps['tokens_per_second'][-1])} tok/s", f"mfu {steps['mfu'][-1]:.1%}",
    ]  # fmt: skip
    if checks := [row for row in run.measured["validation"] if "loss" in row]:
        parts.insert(4, f"val {number(checks[-1]['loss'])}")
    if run.status == "running" and (eta := run.eta) is not None:
        parts.append(f"ETA {clock(eta)}")
    return "  ".join(parts)


def facts(run: Run) -> list[tuple[str, str]]:
    """The tiles: (name, value)."""
    steps = run.steps
    last: dict[str, Any] = {name: column[-1] if column else None for name, column in steps.items()}
    found = [("step", f"{run.last_step:,} of {run.num_steps:,}")]
    if last["loss"] is not None:
        found += [
            ("loss", f"{number(run.smooth[20][-1], 5)} smoothed, {number(last['loss'], 5)} now"),
            ("learning rate", number(last["learning_rate"], 3)), ("gradient norm", number(last["grad_norm"], 4)),
            ("tokens/s", f"{last['tokens_per_second']:,.0f}"), ("MFU", f"{last['mfu']:.1%}"),
            ("tokens", amount(int(last["tokens"]))),
        ]  # fmt: skip
    if (best := run.best()) is not None:
        newest = [row["loss"] for row in run.measured["validation"] if "loss" in row][-1]
        found.insert(2, ("validation", f"{number(newest, 5)}, best {number(best[1], 5)} at {best[0]:,}"))
    found.append(("at work", clock(run.wall)))
    if run.status == "running":
        eta, due = run.eta, run.next_checkpoint()
        found.append(("ETA", "-" if eta is None else clock(eta)))
        found.append(("next checkpoint", f"in {clock(due[1])}, about step {due[0]:,}" if due else "-"))
    return found


def view(run: Run, width: int, height: int) -> RenderableType:
    """Everything of one run, `width` characters wide, the curve `height` lines high."""
    status = run.status
    inner = max(20, width - 14)
    table = Table.grid(padding=(0, 2))
    rows = facts(run)
    half = -(-len(rows) // 2)
    for left in range(half):
        pair = rows[left::half] if width >= 84 else [rows[left]]
        table.add_row(*(Text(cell, style="dim" if i % 2 == 0 else "") for name, value in pair for i, cell in enumerate((name, value))))  # fmt: skip
    if width < 84:
        for name, value in rows[half:]:
            table.add_row(Text(name, style="dim"), value)
    parts: list[RenderableType] = [
        ProgressBar(total=max(1, run.num_steps), completed=run.last_step, width=width - 4), table, Text(),
        *_plot(run, inner, height), Text(),
    ]  # fmt: skip
    for name, label in (
        ("learning_rate", "lr"),
        ("grad_norm", "grad norm"),
        ("tokens_per_second", "tokens/s"),
    ):
        parts.append(Text.assemble((f"{label:>9} ", "dim"), (sparkline(run.steps[name], inner), "cyan")))
    events = run.events[-5:]
    if events:
        parts.append(Text())
    for event in events:
        when = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        parts.append(
            Text.assemble((f"{when} step {event['step']:<7,} ", "dim"), (plain(event["text"]), "yellow"))
        )
    said = [f"{run.replaced:,} steps were taken again"] if run.replaced else []
    said += [f"{run.damaged:,} lines could not be read"] if run.damaged else []
    if why := run.facts.get("why"):
        said.append(plain(str(why)))
    if said:
        parts.append(Text("; ".join(said), style="dim"))
    title = Text.assemble((plain(run.name), "bold"), " ", (status, _STYLES.get(status, "")))
    return Panel(Group(*parts), title=title, title_align="left", width=width)


def _plot(run: Run, width: int, height: int) -> list[Text]:
    losses = [value for value in run.steps["loss"] if math.isfinite(value)]
    if not losses:
        return [Text("no step is finished yet", style="dim")]
    lines = curve(run.steps["loss"], width, height)
    labels = (
        [number(max(losses)), *[""] * (height - 2), number(min(losses))]
        if height > 1
        else [number(max(losses))]
    )
    return [
        Text.assemble((f"{label:>9} ", "dim"), (row, "green"))
        for label, row in zip(labels, lines, strict=True)
    ]
