"""`ownlm data train-quality|train-perplexity|score|language`: the models behind the filters, made and tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ownlm.cli.output import notice, out, print_json
from ownlm.errors import UsageError
from ownlm.records import Document

app = typer.Typer(help="Train and try the models that data filters use.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Data = Annotated[list[Path], typer.Argument(metavar="DATA...", help="Text files or folders.")]
Out = Annotated[Path, typer.Option("--out", help="File to write, e.g. quality.safetensors.")]


@app.command("train-quality")
def train_quality(
    path: Out,
    labels: Annotated[list[Path] | None, typer.Option(help="JSONL with text and a label or score.")] = None,
    good: Annotated[list[Path] | None, typer.Option(help="Text to keep more of. Repeatable.")] = None,
    bad: Annotated[list[Path] | None, typer.Option(help="Text to keep less of. Repeatable.")] = None,
    key: Annotated[str, typer.Option(help="Field of the label or score.")] = "label",
    positive: Annotated[str, typer.Option(help="Name of the class that is scored: good, toxic ...")] = "good",
    threshold: Annotated[float | None, typer.Option(help="Scores from here on are positive.")] = None,
    bits: Annotated[int, typer.Option(help="2^bits weights of 4 bytes.", min=10, max=24)] = 18,
    epochs: Annotated[int, typer.Option(help="Passes over the training part.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the order of the texts.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a linear scorer for the steps quality_model and toxicity; prints its AUC on texts that it has not seen.

    Exit codes: 0 trained, 2 options that exclude each other, 3 too few texts, 5 disk.

    Example: ownlm data train-quality --good books/ --bad crawl/ --out quality.safetensors
    """
    from ownlm.data.linear import model, train
    from ownlm.data.linear.labels import from_pair, from_rows

    if bool(labels) == bool(good or bad) or bool(good) != bool(bad):
        raise UsageError(
            "Give labelled rows, or a good and a bad corpus.", "", "--labels FILE, or --good and --bad"
        )
    pairs = (
        from_rows(_documents(labels), key, positive, threshold)
        if labels
        else from_pair(_texts(good or []), _texts(bad or []))
    )
    found = train.train(pairs, positive, train.Recipe(bits=bits, epochs=epochs, seed=seed))
    model.write(path, found)
    report = found.report
    _tell(
        {"file": str(path), "positive": positive, **report},
        f"held-out AUC {report['auc']:.3f} (95 % interval {report['auc_low']:.3f} to {report['auc_high']:.3f}) "
        f"on {report['texts']['test']['all']} texts -> {path}",
        as_json,
    )


@app.command("train-perplexity")
def train_perplexity(
    data: Data,
    path: Out,
    order: Annotated[int, typer.Option(help="Longest n-gram.", min=1, max=8)] = 4,
    words: Annotated[int, typer.Option(help="Words kept whole; others are spelled.", min=0)] = 100_000,
    as_json: Json = False,
) -> None:
    """Train an n-gram model of good text; prints percentiles of held-out text to choose thresholds from.

    Exit codes: 0 trained, 3 too little text, 5 disk.

    Example: ownlm data train-perplexity wikipedia/ --out good.safetensors
    """
    from ownlm.data.perplexity import model

    found = model.train(_texts(data), order, words)
    size = model.write(path, found)
    shown = " ".join(f"p{name} {value:.0f}" for name, value in found.report.get("percentiles", {}).items())
    if not shown:
        notice("too few documents to measure percentiles on: set max_perplexity or buckets in the step")
    _tell(
        {"file": str(path), "bytes": size, **found.report}, f"held-out perplexity {shown} -> {path}", as_json
    )


@app.command()
def score(
    data: Data,
    quality: Annotated[Path | None, typer.Option(help="Model of train-quality.")] = None,
    perplexity: Annotated[Path | None, typer.Option(help="Model of train-perplexity.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per document.")] = False,
) -> None:
    """Show what the models say of each document.

    Exit codes: 0 scored, 3 nothing readable, 4 not a model.

    Example: ownlm data score crawl/ --quality quality.safetensors --perplexity good.safetensors
    """
    from ownlm.data.linear import model as linear
    from ownlm.data.perplexity import model as surprise

    if quality is None and perplexity is None:
        raise UsageError("There is no model to score with.", "", "give --quality FILE or --perplexity FILE")
    scorer = linear.load(quality) if quality else None
    judge = surprise.load(perplexity) if perplexity else None
    for document in _documents(data):
        facts: dict[str, Any] = {}
        if scorer:
            facts[scorer.positive] = scorer.score(document.text)
        if judge:
            facts["perplexity"] = round(judge.perplexity(document.text), 2)
        _row(document, facts, as_json)


@app.command()
def language(
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per document.")] = False,
) -> None:
    """Show which language each document is in, how sure that is, and what else is in it.

    Exit codes: 0 told, 3 nothing readable.

    Example: ownlm data language crawl/
    """
    from ownlm.data.language.identify import identify

    for document in _documents(data):
        found = identify(document.text)
        facts = {"language": found.language, "probability": found.probability, "shares": found.shares}
        _row(document, facts, as_json)


def _documents(paths: list[Path]) -> Iterator[Document]:
    """Documents of the paths; what the readers refuse is shown."""
    from ownlm.data.read import read

    refused = 0
    for item in read(paths):
        if isinstance(item, Document):
            yield item
        else:
            refused += 1
            notice(f"left out {item.source}: {item.reason}") if refused <= 5 else None
    if refused > 5:
        notice(f"left out {refused} in all")


def _texts(paths: list[Path]) -> Iterator[str]:
    return (document.text for document in _documents(paths))


def _row(document: Document, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        import json

        sys.stdout.write(json.dumps({"source": document.source, **facts}, ensure_ascii=False) + "\n")
        return
    shares = facts.pop("shares", {})
    more = " ".join(f"{name} {share:.2f}" for name, share in shares.items()) if len(shares) > 1 else ""
    out.print(f"{document.source}  " + "  ".join(f"{name} {value}" for name, value in facts.items()) + f"  {more}".rstrip(), markup=False)  # fmt: skip


def _tell(facts: dict[str, Any], line: str, as_json: bool) -> None:
    print_json(facts) if as_json else out.print(line, markup=False)
