"""`ownlm scaling run|fit|predict|optimal`: small runs, the laws they follow, and what to train for a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ownlm import config
from ownlm.cli.output import err, notice, out, print_json
from ownlm.errors import UsageError

if TYPE_CHECKING:
    from ownlm.train.ladder.result import LadderRun

app = typer.Typer(
    help="Scaling laws: run a ladder of small models, fit, predict a larger one.", no_args_is_help=True
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Results = Annotated[
    Path, typer.Argument(metavar="DIR", help="A ladder's folder, or its results.jsonl.", show_default=False)
]
Samples = Annotated[int, typer.Option(help="Bootstrap samples behind the intervals.", min=20)]
Seed = Annotated[int, typer.Option(help="Of the bootstrap.")]


@app.command()
def run(
    data: Annotated[Path, typer.Option("--data", help="Prefix of token shards, or a text file (read as bytes).")],
    folder: Annotated[Path, typer.Option("--out", help="Folder to make; the same command again goes on.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, as in the file.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="YAML or JSON settings of the ladder.")] = None,
    sizes: Annotated[str | None, typer.Option(help='Depths or layers x width, with commas: "2x32,2x64,4".')] = None,
    tokens: Annotated[str | None, typer.Option(help='Lengths of the runs, with commas: "500000,2e6".')] = None,
    budget: Annotated[float | None, typer.Option(help="Largest 6 N D of one run, in operations.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train every size at every length and measure each on held-out text.

    Kill it at any moment; the same command goes on. DIR/results.jsonl has one line per finished run.

    Exit codes: 0 done, 2 wrong settings, 3 too little text, 4 DIR belongs to another ladder.

    Example: ownlm scaling run --data book.txt --out out/ladder --sizes 2x32,2x64,3x96 --tokens 500000,1000000,2000000
    """
    from ownlm.train.ladder import rungs, text

    given = list(overrides or [])
    given += [f"sizes=[{','.join(repr(size.strip()) for size in sizes.split(','))}]"] if sizes else []
    given += [f"tokens=[{','.join(_whole(length) for length in tokens.split(','))}]"] if tokens else []
    given += [f"budget={budget!r}"] if budget is not None else []
    settings = config.load(rungs.LadderSettings, config_file, given).value
    ids, vocab_size = text.read(data)
    plan, left_out = rungs.rungs(settings, vocab_size)
    if left_out:
        notice(
            f"{len(left_out)} runs are above the budget and left out: {', '.join(r.name for r in left_out)}"
        )
    if dry:
        rows = [
            {"name": r.name, "parameters": r.parameters, "tokens": r.tokens, "flops": r.flops} for r in plan
        ]
        print_json({"runs": rows}) if as_json else out.print(_plan_table(rows))
        return
    found = text.split(ids, vocab_size, settings.heldout_tokens, settings.context, str(data))
    results = _climb(plan, settings, found, folder)
    if as_json:
        import dataclasses

        print_json({"folder": str(folder), "runs": [dataclasses.asdict(r) for r in results]})
    else:
        out.print(_result_table(results))
        out.print(f"next: ownlm scaling fit {folder}")


def _climb(plan: Any, settings: Any, text: Any, folder: Path) -> list[LadderRun]:
    """Run with one progress line over the whole ladder, in operations."""
    from ownlm.runtime.files import write_json
    from ownlm.runtime.progress import Progress
    from ownlm.train.ladder.climb import climb

    write_json(folder / "ladder.json", {**settings.model_dump(mode="json"), "text": text.source, "vocab_size": text.vocab_size})  # fmt: skip
    results: list[LadderRun] = []
    with Progress("ladder", total=round(sum(rung.flops for rung in plan) / 1e9), unit="GFLOP") as progress:
        before = 0.0
        for rung, (result, new) in zip(plan, climb(plan, settings, text, folder, notice=lambda told: None,
                step_seen=lambda rung, step: progress.update(round(rung.flops / rung.num_steps / 1e9), run=rung.name)), strict=True):  # fmt: skip
            before += rung.flops
            if new:
                progress.count = round(before / 1e9)
            else:
                progress.start_at(round(before / 1e9))
            results.append(result)
    return results


def _whole(text: str) -> str:
    from ownlm.errors import UsageError

    try:
        return str(int(float(text)))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            "A length must be a number of tokens.", repr(text), "write e.g. 500000 or 2e6"
        ) from error


@app.command()
def fit(
    results: Results,
    samples: Samples = 200,
    seed: Seed = 0,
    report: Annotated[Path | None, typer.Option(help="Also write an HTML page with the plots here.")] = None,
    as_json: Json = False,
) -> None:
    """Fit Kaplan's power laws and Chinchilla's law, with 95 % intervals, beside the published exponents.

    Exit codes: 0 fitted, 3 too few runs, 4 not a ladder.

    Example: ownlm scaling fit out/ladder --report out/ladder/report.html
    """
    from ownlm.plan.scaling import page, summary
    from ownlm.train.ladder.result import read_results

    runs = read_results(results)
    with err.status("fitting"):
        found = summary.summarise(runs, samples, seed)
    if report is not None:
        page.write(report, runs, found)
    if as_json:
        print_json(found.as_dict())
        return
    table = Table("law", "exponent", "95 % interval", "published", "points", title=f"{len(runs)} runs")
    for row in found.rows:
        value = "–" if row.value is None else f"{row.value:.3f}"
        interval = "–" if row.low is None else f"{row.low:.3f} to {row.high:.3f}"
        table.add_row(row.name, value, interval, row.published, row.note)
    out.print(table)
    for line in found.sentences():
        out.print(line)


@app.command()
def predict(
    results: Results,
    parameters: Annotated[float, typer.Option("--params", help="Parameters, embeddings included.")],
    tokens: Annotated[float, typer.Option(help="Tokens of its training.")],
    unique: Annotated[
        float | None, typer.Option(help="Different tokens; default: those of the ladder.")
    ] = None,
    level: Annotated[float, typer.Option(help="Share of the interval.", min=0.5, max=0.999)] = 0.95,
    samples: Samples = 200,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict the held-out loss of a run that was not made, with an interval.

    Exit codes: 0 predicted, 2 impossible sizes, 3 too few runs, 4 not a ladder.

    Example: ownlm scaling predict out/ladder --params 1.7e6 --tokens 1e6
    """
    import dataclasses

    from ownlm.plan.scaling import chinchilla
    from ownlm.plan.scaling import predict as prediction
    from ownlm.train.ladder.result import read_results

    runs = read_results(results)
    fitted = chinchilla.fit(prediction.points(runs), samples, seed)
    found = prediction.predict(fitted, parameters, tokens, unique or max(r.unique_tokens for r in runs), level, seed)  # fmt: skip
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    out.print(f"loss {found.loss:.4f} nats/token, {level:.0%} interval {found.low:.4f} to {found.high:.4f}")
    out.print(f"  {found.reach:.3g} times the compute of the ladder's largest run; "
              f"form error {found.miss:.2%} from {found.num_backtests} backtests")  # fmt: skip


@app.command()
def optimal(
    compute: Annotated[float, typer.Option("--budget", help="C = 6 N D, in operations.")],
    results: Annotated[Path | None, typer.Option("--dir", help="A ladder: its own law too.")] = None,
    unique: Annotated[float | None, typer.Option(help="Different tokens there are: text that must repeat.")] = None,
    inference: Annotated[float | None, typer.Option(help="Tokens it will read and write in its life.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """The model and the number of tokens with the lowest loss for a budget, by several laws.

    Exit codes: 0 found, 2 no such model, 3 too few runs, 4 not a ladder.

    Example: ownlm scaling optimal --budget 5.76e23 --inference 2e12
    """
    from ownlm.plan.scaling import summary
    from ownlm.train.ladder.result import read_results

    for name, value in (("--budget", compute), ("--unique", unique), ("--inference", inference)):
        if value is not None and not value > 0:
            raise UsageError(
                "A number of operations or tokens must be positive.", f"{name} {value:g}", "correct it"
            )
    rows = summary.optima(compute, read_results(results) if results else None, unique, inference)
    if as_json:
        print_json({"budget": compute, "optima": rows})
        return
    table = Table("law", "parameters", "tokens", "tokens/param", "loss", "training", "inference")
    for row in rows:
        loss = "–" if row["loss"] is None else f"{row['loss']:.4f}"
        table.add_row(row["law"], f"{row['parameters']:.3g}", f"{row['tokens']:.3g}", f"{row['tokens'] / row['parameters']:.3g}",
                      loss, f"{row['training_compute']:.3g}", f"{row['inference_compute']:.3g}")  # fmt: skip
    out.print(table)


def _plan_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("run", "parameters", "tokens", "operations")
    for row in rows:
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['tokens']:,}", f"{row['flops']:.3g}")
    return table


def _result_table(runs: list[LadderRun]) -> Table:
    table = Table("run", "parameters", "without embedding", "tokens", "loss", "seconds")
    for r in runs:
        table.add_row(r.name, f"{r.parameters:,}", f"{r.non_embedding:,}", f"{r.tokens:,}",
                      f"{r.loss:.4f} ± {r.loss_stderr:.4f}", f"{r.seconds:.1f}")  # fmt: skip
    return table
