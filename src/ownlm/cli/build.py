"""`ownlm build` and `ownlm quickstart`: from a folder of text to an assistant; then serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ownlm import config
from ownlm.cli import serve as serving
from ownlm.cli.output import err, print_json

Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Folder or file of text: .txt .md .rst .html, source code, .jsonl(.gz/.zst). May repeat. Default: Python's standard library.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", help="Where the artifacts go; the same folder again goes on or is skipped.")
]
Minutes = Annotated[float | None, typer.Option(help="Time budget in minutes; default 8.", min=0.1)]
Size = Annotated[
    int | None,
    typer.Option(
        help="The size dial: number of layers, 1 to 24. Default: from data, time and machine.", min=1, max=24
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of settings.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Any setting, e.g. pretrain.steps=200 (`ownlm config show`)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def build(
    out: Out, overrides: Overrides = None, data: Data = None, minutes: Minutes = None, size: Size = None,
    config_file: ConfigFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Build an assistant from text: read, tokenize, pretrain, fine-tune, index, evaluate.

    Stop it at any moment; the same command goes on where it stopped and skips what is done.

    Exit codes: 0 done, 2 settings, 3 unusable text, 4 damaged folder, 5 disk or memory, 130 interrupted.

    Example: ownlm build --data ~/docs --out out/docs --minutes 10
    """
    manifest = _build(out, overrides, data, minutes, size, config_file)
    if as_json:
        print_json(
            {
                "folder": str(out),
                "digest": manifest.digest,
                "metrics": manifest.metrics,
                "cost": manifest.cost,
            }
        )
    else:
        err.print(f"done: `ownlm serve {out}` opens the page, `ownlm chat {out}` talks here", markup=False)


def quickstart(
    out: Out = Path("out/quickstart"), overrides: Overrides = None, data: Data = None, minutes: Minutes = None,
    size: Size = None, config_file: ConfigFile = None, host: serving.Host = "127.0.0.1", port: serving.Port = 8000,
    api_key: serving.ApiKey = None,
) -> None:  # fmt: skip
    """Build an assistant from Python's own documentation (or --data), then serve it.

    Example: ownlm quickstart --port 8080
    """
    from ownlm.serve import run as server

    server.check_port(host, port)  # before minutes of work, not after
    _build(out, overrides, data, minutes, size, config_file)
    serving.run(out, host, port, api_key)


def _build(
    out: Path, overrides: list[str] | None, data: list[Path] | None, minutes: float | None, size: int | None,
    config_file: Path | None,
) -> Any:  # fmt: skip
    from ownlm.pipeline.build import build as run
    from ownlm.pipeline.config import BuildSettings

    given = list(overrides or [])
    if minutes is not None:
        given.append(f"minutes={minutes}")
    if size is not None:
        given.append(f"pretrain.depth={size}")
    resolved = config.load(BuildSettings, config_file, given)
    if data:
        chosen = resolved.value.model_copy(
            update={"data": resolved.value.data.model_copy(update={"paths": tuple(data)})}
        )
        resolved = config.Resolved(chosen, {**resolved.origins, "data.paths": "command line --data"})
    return run(resolved, out, lambda text: err.print(text, markup=False))
