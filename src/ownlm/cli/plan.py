"""`ownlm plan`: what a build will take and reach; after a build, predicted beside measured. `plan layouts`: clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ownlm import config
from ownlm.cli import layouts
from ownlm.cli.build import ConfigFile, Data, Json, Minutes, Overrides, Size
from ownlm.cli.output import out, print_json
from ownlm.errors import DataError


def plan(
    overrides: Overrides = None, data: Data = None, minutes: Minutes = None, size: Size = None,
    config_file: ConfigFile = None,
    folder: Annotated[Path | None, typer.Option("--dir", help="A finished build: predicted beside measured.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Predict parameters, tokens, loss, memory and minutes, each with its formula.

    `ownlm plan layouts` is about clusters: which ways to share a large model out fit.

    Exit codes: 0 planned, 2 the time is too short, 3 no text, 5 the machine is too small.

    Example: ownlm plan --data ~/docs --minutes 10
    """
    from ownlm.pipeline import planning
    from ownlm.pipeline.config import BuildSettings
    from ownlm.plan.plan import Plan
    from ownlm.runtime import artifact, files

    if folder is not None:
        measured = artifact.read(folder).cost.get("measured", {})
        found = Plan.from_dict(files.read_json(folder / "plan" / "plan.json"))
    else:
        given = list(overrides or [])
        given += [f"minutes={minutes}"] if minutes is not None else []
        given += [f"pretrain.depth={size}"] if size is not None else []
        settings = config.load(BuildSettings, config_file, given).value
        found = planning.ask(settings, _size_of(data or []), planning.machine(settings, Path(".")))
        measured = {}
    if as_json:
        rows = [row.as_dict() for row in found.compare(measured)]
        print_json({**found.as_dict(), "measured": rows})
    else:
        out.print(found.table(measured or None))


def _size_of(paths: list[Path]) -> int:
    """Bytes of the files that a build would read; the default text when none are given."""
    if not paths:
        from ownlm.data.stdlib import standard_library

        return sum(len(document.text.encode("utf-8", "replace")) for document in standard_library())
    total = 0
    for path in paths:
        if not path.exists():
            raise DataError("There is no such file or folder.", str(path), "check the path given with --data")
        members = (
            [path]
            if path.is_file()
            else [member for member in path.rglob("*") if member.is_file() and not member.is_symlink()]
        )
        total += sum(member.stat().st_size for member in members)
    return total


class _BuildByDefault(TyperGroup):
    """`ownlm plan` with settings, options or nothing plans a build, as it always has; a verb is a verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["build", *args])


app = typer.Typer(
    cls=_BuildByDefault, help="What a build or a large run will take. Verbs: build (default), layouts."
)
app.command("build")(plan)
app.command("layouts")(layouts.layouts)
