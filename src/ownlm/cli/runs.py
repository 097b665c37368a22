"""`ownlm runs list|show|compare|watch|page|report ...`: follow training runs, and set them side by side."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ownlm.cli.output import notice, out, print_json

app = typer.Typer(help="Follow training runs: list, show, watch, compare, a live page.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")]
Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Run folders, or folders that hold some.")
]


@app.command("list")
def list_runs(folders: Folders, as_json: Json = False) -> None:
    """List the runs in and below folders: how far they are, and how good.

    Exit codes: 0 listed, 4 no run there.

    Example: ownlm runs list out/
    """
    from ownlm.cli.runs_view import number, plain
    from ownlm.runtime.progress import clock
    from ownlm.train.runs import load

    runs = load(folders)
    if as_json:
        print_json({"runs": [_standing(run) for run in runs]})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "status", "step", "loss", "best validation", "time", "folder"):
        table.add_column(
            name, justify="right" if name in ("step", "loss", "best validation", "time") else "left"
        )
    for run in runs:
        best, smooth = run.best(), run.smooth[20]
        table.add_row(
            Text(plain(run.name)), run.status, f"{run.last_step:,}/{run.num_steps:,}", number(smooth[-1] if smooth else None),
            number(best[1] if best else None), clock(run.wall), Text(plain(str(run.folder))),
        )  # fmt: skip
    out.print(table)


def _standing(run: Any) -> dict[str, Any]:
    from ownlm.train.page.payload import moment, of

    facts = of(run)
    kept = (
        "name",
        "folder",
        "id",
        "num_steps",
        "last",
        "replaced",
        "damaged",
        "num_events",
        "started",
        "ended",
    )
    best = run.best()
    return {key: facts[key] for key in kept} | moment(run) | {"best_validation": best and {"step": best[0], "loss": best[1]}}  # fmt: skip


@app.command()
def show(
    folder: Folder,
    settings: Annotated[bool, typer.Option("--settings", help="Every setting with its source too.")] = False,
    as_json: Json = False,
) -> None:
    """Show one run: curve, numbers, events, commit, data versions; with --settings also where each value came from.

    Exit codes: 0 shown, 4 not a run folder.

    Example: ownlm runs show out/shakespeare --settings
    """
    from ownlm.cli.runs_view import plain, view
    from ownlm.train.runs import Run

    run = Run(folder)
    if as_json:
        keep = ("config", "data", "git", "environment", "sessions", "note")
        measured = {kind: [{k: v for k, v in row.items() if k != "kind"} for row in rows] for kind, rows in run.measured.items()}  # fmt: skip
        print_json(_standing(run) | {key: run.facts.get(key) for key in keep} | {"events": run.events, "measured": _finite(measured)})  # fmt: skip
        return
    out.print(view(run, min(out.width, 110), 10))
    git = run.facts.get("git", {})
    code = (
        f"commit {git['commit'][:12]} on {git['branch']}"
        if "commit" in git
        else f"no commit: {git.get('why')}"
    )
    out.print(Text(plain(code + (f", {git['num_changed']} files changed" if git.get("dirty") else ""))))
    for name, digest in run.facts.get("data", {}).items():
        out.print(Text(plain(f"data {name}: {digest}")))
    if settings:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("setting", "value", "source"):
            table.add_column(column, overflow="fold")
        for key, entry in run.facts.get("config", {}).items():
            table.add_row(
                Text(plain(key)), Text(plain(repr(entry["value"]))), Text(plain(entry["source"]), style="dim")
            )
        out.print(table)


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value


@app.command()
def compare(
    folders: Folders,
    html: Annotated[Path | None, typer.Option(help="Write all curves in one chart to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: settings that differ, with sources; losses after equal steps, tokens and time.

    Exit codes: 0 compared, 2 fewer than two runs, 4 no run there.

    Example: ownlm runs compare out/adamw out/muon --html compare.html
    """
    from ownlm.runtime.files import write_atomic
    from ownlm.train.page.report import render
    from ownlm.train.runs import load
    from ownlm.train.tracking.compare import compare as compared

    runs = load(folders)
    facts = compared(runs)
    if html is not None:
        write_atomic(html, render(runs))
    if as_json:
        print_json(facts | {"html": None if html is None else str(html)})
        return
    _print_comparison(facts)
    if html is not None:
        out.print(Text(f"chart: {html}"))


def _print_comparison(facts: dict[str, Any]) -> None:
    from ownlm.cli.runs_view import number, plain
    from ownlm.runtime.progress import amount, clock

    names = [plain(run["name"], 40) for run in facts["runs"]]

    def table(first: str) -> Table:
        made = Table(box=None, pad_edge=False, header_style="dim")
        for name in (first, *names):
            made.add_column(Text(name), overflow="fold")
        return made

    standing = table("")
    for key, shown in (("status", str), ("step", "{:,}".format), ("tokens", amount), ("seconds", clock), ("loss", lambda v: number(v, 5))):  # fmt: skip
        standing.add_row(key, *(shown(run[key]) for run in facts["runs"]))
    for name, column in facts["measured"].items():
        standing.add_row(Text(plain(name)), *("-" if each is None else number(each.get("best", each["last"]), 5) for each in column))  # fmt: skip
    out.print(standing)
    for title in ("settings", "data", "code", "environment"):
        rows = facts[title]
        out.print(Text(f"\n{title}: " + (f"{len(rows)} different" if rows else "the same"), style="bold"))
        if rows:
            different = table(title)
            for row in rows:
                sources = row.get("sources", [""] * len(names))
                different.add_row(Text(plain(row["key"])), *(
                    Text.assemble(plain(str(value)), (f"  ({plain(source)})" if source else "", "dim"))
                    for value, source in zip(row["values"], sources, strict=True)
                ))  # fmt: skip
            out.print(different)
    for axis, shown in (("step", "{:,}".format), ("tokens", amount), ("elapsed", clock)):
        points = facts["losses"][axis]
        if points:
            said = {"step": "equal steps", "tokens": "equal tokens", "elapsed": "equal time"}[axis]
            out.print(Text(f"\nloss after {said} (half-life {facts['half_life']} steps)", style="bold"))
            losses = table(axis)
            for point in points:
                losses.add_row(shown(point["at"]), *(Text(number(loss, 5), style="green" if i == point["lowest"] else "") for i, loss in enumerate(point["losses"])))  # fmt: skip
            out.print(losses)


@app.command()
def watch(
    folders: Folders,
    seconds: Annotated[float, typer.Option(help="Between two looks.", min=0.1)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Watch runs in the terminal until all have ended; a line per look when the output is no terminal.

    Exit codes: 0 all ended, 4 no run there, 130 interrupted (the runs go on).

    Example: ownlm runs watch out/shakespeare
    """
    from rich.console import Group

    from ownlm.cli.runs_view import line, view
    from ownlm.train.runs import load

    runs = load(folders)

    def look() -> bool:
        """Whether there may be more to see."""
        for run in runs:
            run.refresh()
        return not once and any(run.status == "running" for run in runs)

    if not out.is_terminal:
        seen = [-1] * len(runs)
        more = True
        while more:
            more = look()
            for i, run in enumerate(runs):
                if run.version != seen[i]:
                    seen[i] = run.version
                    typer.echo(line(run))
            if more:
                time.sleep(seconds)
        return

    def picture() -> Group:
        height = max(3, (out.height - 2) // len(runs) - 17)
        return Group(*(view(run, min(out.width, 140), min(height, 14)) for run in runs))

    try:
        with Live(picture(), console=out, auto_refresh=False, vertical_overflow="crop") as live:
            more = True
            while more:
                more = look()
                live.update(picture(), refresh=True)
                if more:
                    time.sleep(seconds)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def page(
    folders: Folders,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any free one.", min=0, max=65535)] = 0,
) -> None:
    """Serve a live page of runs on this machine until Ctrl-C; several runs share their charts.

    Exit codes: 4 no run there, 5 the port is taken, 130 ended by Ctrl-C.

    Example: ownlm runs page out/shakespeare --port 8090
    """
    from ownlm.train.page.server import serve
    from ownlm.train.runs import load

    server = serve(load(folders), port)
    out.print(f"http://127.0.0.1:{server.server_address[1]}/")
    notice("Ctrl-C ends the page; the runs go on")
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        server.server_close()


@app.command()
def report(
    folders: Folders,
    path: Annotated[
        Path | None, typer.Option("--out", help="File to write; default: DIR/report.html of the first run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the page as one file that needs no server.

    Exit codes: 0 written, 4 no run there, 5 cannot be written.

    Example: ownlm runs report out/shakespeare
    """
    from ownlm.runtime.files import write_atomic
    from ownlm.train.page.report import render
    from ownlm.train.runs import load

    runs = load(folders)
    target = path or runs[0].folder / "report.html"
    write_atomic(target, render(runs))
    if as_json:
        print_json({"report": str(target), "runs": [run.name for run in runs]})
    else:
        out.print(Text(f"report: {target}"))
