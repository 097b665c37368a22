"""`ownlm pretrain`: a language model from text or token shards."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ownlm import config
from ownlm.cli.output import err, notice, out, print_json

Out = Annotated[
    Path, typer.Option("--out", help="Folder of the run; the same folder again goes on where it stopped.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of settings.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting; --keys lists them.")
]
Keys = Annotated[bool, typer.Option("--keys", help="List every setting with its explanation, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def pretrain(
    folder: Out = Path("out/pretrain"), overrides: Overrides = None, config_file: ConfigFile = None, keys: Keys = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train a language model. Data, size and budget are needed; all else is derived, printed, and can be set.

    Stop it at any moment; the same command goes on where it stopped. `ownlm runs watch DIR` shows it from elsewhere.

    Exit codes: 0 done, 2 settings, 3 unusable text, 4 damaged folder, 5 disk or memory, 130 interrupted.

    Example: ownlm pretrain data=tinyshakespeare.txt size='depth 6' budget='3 min' --out out/shakespeare
    """
    began = time.perf_counter()  # loading torch belongs to a budget of time
    from ownlm.pipeline.pretraining.pretrain import pretrain as run
    from ownlm.pipeline.pretraining.settings import PretrainSettings

    if keys:
        for key, told in config.keys(PretrainSettings):
            out.print(f"[bold]{key}[/]  {told}")
        return
    resolved = config.load(PretrainSettings, config_file, overrides or ())
    metrics = run(resolved.value, resolved.origins, folder, notice, began)
    if not metrics:  # a process that is not the first: that one speaks
        return
    if as_json:
        print_json({"folder": str(folder), "metrics": metrics})
    else:
        err.print(f"done: validation loss {metrics['validation_loss']:.4f} nats per token; the model is {folder / 'model'}",
                  markup=False)  # fmt: skip
