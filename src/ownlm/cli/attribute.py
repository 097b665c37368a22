"""`ownlm data attribute` and `ownlm data flywheel`: from answers back to training text, and from answers to new rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ownlm.cli.output import notice, out, print_json
from ownlm.errors import DataError, UsageError

app = typer.Typer(
    help="What the data did to the model, and what the model's use gives back.", no_args_is_help=True
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def attribute(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished build.")],
    answer: Annotated[str, typer.Argument(help="The answer to explain.")],
    question: Annotated[str, typer.Option(help="What stood before it.")] = "",
    method: Annotated[str, typer.Option(help="influence, ekfac, gradients or trak.")] = "influence",
    candidates: Annotated[int, typer.Option(help="Passages that are compared.", min=1, max=5000)] = 100,
    context: Annotated[int, typer.Option(help="Tokens of a passage that count.", min=8)] = 128,
    top: Annotated[int, typer.Option(help="Passages to show.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Rank training passages by how much they moved the model towards an answer (an estimate; the order counts).

    Exit codes: 0 ranked, 2 wrong method or answer, 3 no passage shares a word, 4 not a finished build.

    Example: ownlm data attribute out/quickstart "Return a shallow copy of x." --question "What does copy do?"
    """
    from ownlm.pipeline import attributing

    if method not in ("influence", "ekfac", "gradients", "trak"):
        raise UsageError("There is no such method.", method, "influence, ekfac, gradients or trak")
    found = attributing.attribute(folder, question, answer, method, candidates, context)  # type: ignore[arg-type]
    if as_json:
        facts = found.as_dict()
        print_json({**facts, "passages": facts["passages"][:top], "method": method})
        return
    notice(f"{found.num_candidates} passages of training documents compared by {method}; {found.num_cut} cut to {context} tokens")  # fmt: skip
    for score, passage in found.passages[:top]:
        out.print(Text.assemble((f"{score:+.5f}  ", "bold"), f"{passage.title}  ", (passage.source, "dim")))
        out.print(Text("          " + " ".join(passage.text.split())[:200]))


@app.command()
def flywheel(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="Ratings as JSON lines: feedback.jsonl of a build.")
    ],
    path: Annotated[Path, typer.Option("--out", help="JSONL of `messages` rows to write.")],
    withdrawn: Annotated[
        Path | None, typer.Option(help="File of ids whose consent is withdrawn, one a line.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn rated answers into fine-tuning rows: only with consent, only good or corrected, without personal data.

    Exit codes: 0 written, 3 the log cannot be read.

    Example: ownlm data flywheel out/quickstart/feedback.jsonl --out rows.jsonl
    """
    from ownlm.pipeline import flywheel as turning

    found = turning.harvest(log, path, _ids(withdrawn))
    if as_json:
        print_json({"file": str(path), **found.as_dict()})
        return
    out.print(f"{found.rows:,} rows of {found.lines:,} lines -> {path}", markup=False)
    for reason, count in sorted(found.refused.items()):
        out.print(Text(f"  {count:>7,}  {reason}", style="dim"))
    for change, count in sorted(found.replaced.items()):
        out.print(Text(f"  {count:>7,}  {change}", style="dim"))


@app.command()
def forget(
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="A file that `flywheel` wrote.")],
    withdrawn: Annotated[Path, typer.Argument(metavar="IDS", help="File of ids, one a line.")],
    as_json: Json = False,
) -> None:
    """Take rows out whose consent was withdrawn. A model that was trained on them still knows them.

    Exit codes: 0 done, 3 a file cannot be read, 4 not a file of rows.

    Example: ownlm data forget rows.jsonl withdrawn.txt
    """
    from ownlm.pipeline import flywheel as turning

    count = turning.forget(rows, _ids(withdrawn))
    if as_json:
        print_json({"file": str(rows), "removed": count})
    else:
        out.print(f"{count:,} rows removed from {rows}", markup=False)


def _ids(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(
            "The file of ids cannot be read.", f"{path}: {error}", "one id a line, UTF-8"
        ) from error
