"""`ownlm checkpoint list|show|verify|average DIR`: what a training run has saved, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ownlm.cli.model import size
from ownlm.cli.output import err, notice, out, print_json
from ownlm.errors import ArtifactError, UsageError

app = typer.Typer(help="Look at the checkpoints of a run, check them, average them.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Run = Annotated[
    Path, typer.Argument(metavar="DIR", help="A run's folder, its checkpoints folder, or one checkpoint.")
]


@app.command("list")
def list_(folder: Run, as_json: Json = False) -> None:
    """List the checkpoints: step, loss, size, and whether every hash is right (all of them are read).

    Exit codes: 0 shown (also when one is damaged; `verify` judges), 4 no checkpoint there.

    Example: ownlm checkpoint list runs/first
    """
    rows = [_facts(path) for path in _found(folder)]
    if as_json:
        print_json({"folder": str(folder), "checkpoints": rows})
        return
    table = Table()
    for head in ("step", "loss", "tokens", "size", "state"):
        table.add_column(head, justify="left" if head == "state" else "right")
    for row in rows:
        loss = "" if row["loss"] is None else f"{row['loss']:.4f}"
        tokens = "" if row["tokens"] is None else f"{row['tokens']:,}"
        table.add_row(str(row["step"]), loss, tokens, size(row["bytes"]), row["state"])
    out.print(table)
    for problem in (problem for row in rows for problem in row["problems"]):
        notice(problem)


@app.command()
def show(folder: Run, as_json: Json = False) -> None:
    """Show one checkpoint, the newest where DIR holds several: settings, environment, files.

    Exit codes: 0 shown, 4 no checkpoint there, or its list of files is damaged.

    Example: ownlm checkpoint show runs/first
    """
    from ownlm.train import checkpoint

    path = _found(folder)[-1]
    manifest = checkpoint.read_manifest(path)
    facts = {**_facts(path), **{key: value for key, value in manifest.items() if key != "digest"}}
    if as_json:
        print_json(facts)
        return
    out.print(f"[bold]{path}[/]  {facts['state']}, {size(facts['bytes'])}")
    if facts["loss"] is not None:
        out.print(f"  after step {facts['step']}, {facts['tokens']:,} tokens: loss {facts['loss']:.4f}")
    for title in ("config", "architecture", "environment", "files"):
        table = Table(title=title, title_justify="left", show_header=False)
        for key, value in facts[title].items():
            table.add_row(str(key), str(value))
        out.print(table)
    for problem in facts["problems"]:
        notice(problem)


@app.command()
def verify(folder: Run, as_json: Json = False) -> None:
    """Read every file of every checkpoint and compare its SHA-256.

    Exit codes: 0 all whole, 4 one is damaged or none is there.

    Example: ownlm checkpoint verify runs/first
    """
    rows = [_facts(path) for path in _found(folder)]
    problems = [problem for row in rows for problem in row["problems"]]
    whole = sum(row["state"] == "whole" for row in rows)
    if as_json:
        print_json(
            {"folder": str(folder), "whole": whole, "damaged": len(rows) - whole, "problems": problems}
        )
    else:
        for problem in problems:
            err.print(problem, markup=False)
        out.print(f"{whole} of {len(rows)} checkpoints are whole")
    if problems:
        raise typer.Exit(ArtifactError.exit_code)


@app.command()
def average(
    folder: Run,
    output: Annotated[Path, typer.Option("--out", help="Model folder to make (Hugging Face layout).")],
    last: Annotated[
        int | None, typer.Option(help="Only the newest so many; default: all that are there.", min=1)
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(help="Exponential mean, oldest first: what stays of the mean at each next checkpoint."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder whose tokenizer files are copied beside the weights.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Average the weights of a run's checkpoints into one model. A damaged one is an error, never left out.

    The run must have kept enough of them (keep_checkpoints, keep_every).

    Exit codes: 0 written, 2 wrong arguments, 4 damaged or different checkpoints, 5 machine.

    Example: ownlm checkpoint average runs/first --last 5 --out runs/first/averaged
    """
    from ownlm.model.adapters import hf
    from ownlm.train import averaging

    paths = _found(folder)
    if last is not None and last > len(paths):
        raise UsageError(
            "There are fewer checkpoints than that.",
            f"--last {last}, {len(paths)} in {folder}",
            "take fewer, or train with a larger keep_checkpoints",
        )
    if output.exists() and any(output.iterdir()):
        raise UsageError("The folder is not empty.", str(output), "choose another with --out")
    paths = paths[-(last or len(paths)) :]
    model = averaging.into_model(paths, decay)
    hf.save(model, output, tokenizer_folder=tokenizer)
    steps = [int(path.name[5:]) for path in paths]  # a checkpoint of another name was refused above
    if as_json:
        print_json({"folder": str(output), "steps": steps, "decay": decay, "num_parameters": model.num_parameters()})  # fmt: skip
        return
    out.print(f"{output}: {'mean' if decay is None else f'exponential mean (decay {decay})'} of the checkpoints "
              f"after steps {', '.join(map(str, steps))}")  # fmt: skip


def _found(folder: Path) -> list[Path]:
    """The checkpoints meant by DIR, oldest first; at least one."""
    from ownlm.train import checkpoint

    if (folder / checkpoint.MANIFEST).is_file():
        return [folder.resolve()]
    inner = folder / "checkpoints"
    if found := checkpoint.all_of(inner if inner.is_dir() else folder):
        return found
    raise ArtifactError("There is no checkpoint.", str(folder), "give the folder of a run that has saved one")


def _facts(path: Path) -> dict[str, Any]:
    """What one checkpoint says of itself; loss and tokens only where its files are whole."""
    from safetensors import safe_open

    from ownlm.train import checkpoint
    from ownlm.train.history import COLUMNS

    problems = checkpoint.problems(path)
    last: dict[str, float] = {}
    if not problems:
        for file in checkpoint.tensor_files(path, "run.safetensors"):
            with safe_open(file, framework="pt") as opened:
                if "history" in opened.keys() and len(rows := opened.get_tensor("history")):  # noqa: SIM118
                    last = dict(zip(COLUMNS, rows[-1].tolist(), strict=True))
    return {
        "path": str(path),
        "step": int(path.name.rpartition("-")[2]) if path.name[5:].isdigit() else None,
        "loss": last.get("loss"),
        "tokens": int(last["tokens"]) if last else None,
        "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        "state": "damaged" if problems else "whole",
        "problems": problems,
    }
