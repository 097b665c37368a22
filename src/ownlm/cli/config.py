"""`ownlm config show|explain`: every setting, its value, and where the value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ownlm import config as settings
from ownlm.cli.output import out, print_json
from ownlm.errors import UsageError
from ownlm.runtime import artifact, files

app = typer.Typer(help="Show and explain the settings of a build.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
File = Annotated[Path | None, typer.Option("--config", help="A YAML or JSON file of settings.")]
Folder = Annotated[Path | None, typer.Option("--dir", help="A finished build: its resolved values.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value ...")]


@app.command()
def show(
    overrides: Overrides = None, file: File = None, folder: Folder = None, as_json: Json = False
) -> None:
    """Print every setting with its value and origin.

    Example: ownlm config show --dir out/quickstart
    """
    rows = _rows(file, overrides or [], folder)
    if as_json:
        print_json({"settings": rows})
        return
    table = Table("key", "value", "origin", box=None)
    for key, row in rows.items():
        table.add_row(key, str(row["value"]), row["origin"])
    out.print(table)


@app.command()
def explain(
    key: str, overrides: Overrides = None, file: File = None, folder: Folder = None, as_json: Json = False
) -> None:
    """Say what a setting is, its value, and where the value comes from.

    Example: ownlm config explain pretrain.steps --dir out/quickstart
    """
    rows = _rows(file, overrides or [], folder)
    if key not in rows:
        close = settings.nearest(key, list(rows))
        raise UsageError(
            "There is no such setting.", key, f"did you mean {close}?" if close else "see `ownlm config show`"
        )
    row = rows[key]
    if as_json:
        print_json({"key": key, **row})
        return
    out.print(f"{key} = {row['value']}", markup=False)
    out.print(f"  what:   {row['explanation']}", markup=False)
    out.print(f"  origin: {row['origin']}", markup=False)


def _rows(file: Path | None, overrides: list[str], folder: Path | None) -> dict[str, dict[str, Any]]:
    from ownlm.pipeline.config import BuildSettings

    explanations = dict(settings.keys(BuildSettings))
    if folder is not None:
        artifact.read(folder)  # a clear error when it is no artifact
        stored = files.read_json(folder / "settings.json")
        return {key: {**row, "explanation": explanations.get(key, "")} for key, row in stored.items()}
    resolved = settings.load(BuildSettings, file, overrides)
    values = settings.flat(resolved.value)
    return {
        key: {
            "value": values[key],
            "origin": resolved.origins[key]
            if values[key] is not None
            else "derived by `ownlm plan` for your data and machine",
            "explanation": text,
        }
        for key, text in explanations.items()
    }
