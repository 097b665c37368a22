"""`ownlm eval`: measure a finished build again, on the text and questions that it never saw."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ownlm.cli.output import err, out, print_json


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished build.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the result files; default DIR/evaluations.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Measure xz and Kneser-Ney too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bits per byte beside xz and a 5-gram Kneser-Ney model, and the grounded questions.

    Writes results_<date>.json and samples_<task>_<date>.jsonl in the lm-evaluation-harness layout.

    Exit codes: 0 measured, 4 not a finished build.

    Example: ownlm eval out/quickstart
    """
    from ownlm.evals.results import write_results
    from ownlm.pipeline import measuring
    from ownlm.pipeline.assistant import open_assistant
    from ownlm.pipeline.config import EvalSettings
    from ownlm.runtime import artifact

    started = time.monotonic()
    context = int(artifact.read(folder / "pretrained").config["context"])
    with open_assistant(folder) as assistant:
        tasks, beside = measuring.measure(assistant, EvalSettings(baselines=baselines), context, err.print)
        paths = write_results(
            to or folder / "evaluations", tasks, measuring.conditions_of(assistant, started), beside
        )
    facts = measuring.summary(tasks, beside)
    if as_json:
        print_json({**facts, "files": [str(path) for path in paths]})
    else:
        out.print(table(facts))
        out.print(f"written: {paths[0]}", markup=False)


def table(facts: dict[str, Any]) -> Table:
    shown = Table("task", "metric", "value", "95 % interval", "samples", box=None)
    for task, metrics in facts.items():
        if task == "baselines":
            for baseline in metrics:
                shown.add_row(
                    "heldout", f"bits_per_byte of {baseline['name']}", f"{baseline['bits_per_byte']:.4f}"
                )
            continue
        for metric, i in metrics.items():
            shown.add_row(
                task, metric, f"{i['value']:.4f}", f"{i['low']:.4f} to {i['high']:.4f}", str(i["count"])
            )
    return shown
