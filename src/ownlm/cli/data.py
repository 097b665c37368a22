"""`ownlm data run|preview|report|recipe|steps|diff|shards|crawl ...`: from what was found to text one can account for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ownlm.cli import attribute, crawl, data_models
from ownlm.cli.output import err, notice, out, print_json
from ownlm.errors import UsageError

app = typer.Typer(
    help="Curate data: read, extract, filter, deduplicate, and account for it.", no_args_is_help=True
)
app.command()(crawl.crawl)
app.command("train-quality")(data_models.train_quality)
app.command("train-perplexity")(data_models.train_perplexity)
app.command()(data_models.score)
app.command()(data_models.language)
app.command("attribute")(attribute.attribute)
app.command()(attribute.flywheel)
app.command()(attribute.forget)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
PipelineFile = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="A pipeline file, or the name of a recipe (`ownlm data recipe`)."
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", help="Read this instead of what the file says: file, folder, pattern, URL. May repeat."
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `ownlm data run` made.")]


@app.command()
def run(
    pipeline: PipelineFile,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder to make; the same command again goes on or skips.")
    ],
    data: Data = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes; default: one per core. The output is the same.", min=1),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Run on a Ray cluster: its address, or `local`.", metavar="ADDRESS")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out what matches: source, URL, id or collection; * and ? are wild. May repeat."
        ),
    ] = None,
    shard: Annotated[
        Path | None,
        typer.Option(
            "--shards", help="Then write token shards into this folder (`ownlm data shards` has the options)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a pipeline: every document is kept, changed or dropped for a stated reason, and counted.

    Kill it at any moment; the same command goes on. DIR/report.html shows what happened.

    Exit codes: 0 done, 2 wrong pipeline, 3 nothing readable or nothing left, 5 machine, 6 missing package.

    Example: ownlm data run fineweb --data 'crawl/*.warc.gz' --out out/web --workers 2
    """
    from ownlm.data.flow import snapshot
    from ownlm.data.flow.workers import LocalWorkers, Workers

    chosen = _load(pipeline, data, without)
    if ray is not None and workers is not None and ray != "local":
        raise UsageError(
            "--workers and --ray ADDRESS exclude each other.",
            f"{workers} and {ray}",
            "a cluster decides by its processors",
        )
    team: Workers
    if ray is not None:
        from ownlm.data.adapters.ray import RayWorkers

        team = RayWorkers(None if ray == "local" else ray, workers)
    else:
        team = LocalWorkers(workers or len(os.sched_getaffinity(0)))
    manifest, ran = snapshot.make(chosen, folder, team, notice)
    facts = manifest.metrics
    tokens = None
    if shard is not None:
        from ownlm.pipeline import token_shards

        tokens = token_shards.make(folder, shard, token_shards.ShardSettings(), notice)[0].metrics
    if as_json:
        print_json({"folder": str(folder), "digest": manifest.digest, "made": ran, "shards": tokens, **facts})
        return
    if not ran:
        notice(f"{folder} is there already, unchanged")
    _print_funnel(facts)
    out.print(f"report: {folder / 'report.html'}")
    if tokens is not None:
        _print_shards(tokens)


def _load(pipeline: str, data: list[str] | None, without: list[str] | None = None) -> Any:
    from ownlm.data.flow import recipe

    overrides: dict[str, Any] = {}
    if data:
        overrides["read"] = [
            str(Path(path).expanduser().resolve()) if "://" not in path else path for path in data
        ]
    chosen = recipe.load(pipeline, overrides)
    if without:
        facts = chosen.as_dict()
        facts["recipe"]["steps"] = [{"remove": {"sources": without}}, *facts["recipe"]["steps"]]
        chosen = recipe.from_dict(facts)
    if not chosen.recipe.read:
        raise UsageError(
            "The pipeline does not say what to read.",
            pipeline,
            "add `read:` to the file, or give --data PATH",
        )
    return chosen


def _print_funnel(facts: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("step", "in", "out", "dropped", "reasons"):
        table.add_column(name, justify="left" if name in ("step", "reasons") else "right", overflow="fold")
    for step in facts["funnel"]["steps"]:
        reasons = sorted(step["dropped"].items(), key=lambda item: (-item[1], item[0]))
        said = ", ".join(f"{name} {count:,}" for name, count in reasons[:4]) + (
            f", {len(reasons) - 4} more" if reasons[4:] else ""
        )
        table.add_row(
            step["step"],
            f"{step['num_in']:,}",
            f"{step['num_out']:,}",
            f"{step['num_dropped']:,}",
            Text(said, style="dim"),
        )
    out.print(table)
    out.print(
        f"{facts['num_documents']:,} documents, {facts['num_bytes']:,} bytes of text, {facts['num_quarantined']:,} in quarantine"
    )


@app.command()
def preview(
    pipeline: PipelineFile,
    data: Data = None,
    rows: Annotated[int, typer.Option(help="Documents to look at.", min=1, max=1000)] = 12,
    as_json: Json = False,
) -> None:
    """Send a few documents through every step and show what each did: green is new, red is gone.

    Exit codes: 0 shown, 2 wrong pipeline, 3 nothing readable.

    Example: ownlm data preview fineweb --data crawl/ --rows 5
    """
    from ownlm.data.flow import preview as looking

    found = looking.preview(_load(pipeline, data), rows)
    if as_json:
        print_json({"rows": looking.as_json(found)})
        return
    from ownlm.cli.difference import shown

    for row in found:
        for line in shown(row):
            out.print(line)


@app.command()
def report(folder: Folder, as_json: Json = False) -> None:
    """Render DIR/report.html again, and print the funnel.

    Exit codes: 0 written, 4 not a data folder.

    Example: ownlm data report out/web
    """
    from ownlm.data.flow import report as rendering
    from ownlm.data.flow import snapshot
    from ownlm.runtime import artifact

    page = rendering.render(folder)
    artifact.attach(folder, snapshot.REPORT, page)
    facts = artifact.read(folder).metrics
    if as_json:
        print_json({"report": str(folder / snapshot.REPORT), **facts})
        return
    _print_funnel(facts)
    out.print(f"report: {folder / snapshot.REPORT}")


@app.command()
def recipe(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which recipe; none: list them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a ready pipeline, to save and change; its comments say which paper each parameter is from.

    Exit codes: 0 printed, 2 no such recipe.

    Example: ownlm data recipe fineweb > web.yaml
    """
    import yaml

    from ownlm.data.flow.recipe import shipped

    known = shipped()
    if name is None:
        about = {
            key: yaml.safe_load(file.read_text(encoding="utf-8"))["about"] for key, file in known.items()
        }
        if as_json:
            print_json({"recipes": about})
            return
        for key, text in about.items():
            out.print(Text.assemble((f"{key:<12}", "bold"), " ".join(text.split())))
        return
    if name not in known:
        raise UsageError("There is no such recipe.", name, f"recipes: {', '.join(known)}")
    text = known[name].read_text(encoding="utf-8")
    if as_json:
        print_json({"name": name, "recipe": yaml.safe_load(text)})
    else:
        typer.echo(text, nl=False)


@app.command()
def steps(
    name: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Show the options of this step.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the steps of a pipeline, or the options of one with their defaults and sources.

    Exit codes: 0 printed, 2 no such step.

    Example: ownlm data steps gopher_quality
    """
    from ownlm.data.flow import table

    names = [name] if name else list(table.STEPS)
    found = {each: table.explain(each) for each in names}
    if as_json:
        print_json({"steps": found})
        return
    for each, facts in found.items():
        out.print(Text.assemble((f"{each:<22}", "bold"), facts["about"]))
        if name:
            for option in facts["options"]:
                out.print(
                    Text.assemble(
                        "  ",
                        (option["name"], "bold"),
                        f" = {option['default']}\n      ",
                        (option["about"], "dim"),
                    )
                )


@app.command()
def diff(old: Folder, new: Folder, as_json: Json = False) -> None:
    """Compare two versions of a data set: documents added, removed, changed; settings that differ.

    Exit codes: 0 compared, 4 not a data folder.

    Example: ownlm data diff out/web-1 out/web-2
    """
    from ownlm.data.flow.compare import compare

    facts = compare(old, new)
    if as_json:
        print_json(facts)
        return
    if facts["same"]:
        out.print(f"the same data: {facts['old']['digest'][:16]}")
        return
    for side in ("old", "new"):
        out.print(
            f"{side}: {facts[side]['folder']}  {facts[side]['digest'][:16]}  {facts[side]['num_documents']:,} documents"
        )
    for kind, style in (("added", "green"), ("removed", "red"), ("changed", "yellow")):
        out.print(Text(f"{kind}: {facts['num_' + kind]:,}", style=style))
        for row in facts[kind]:
            out.print(Text(f"  {row['source']}", style="dim"))
        if facts["num_" + kind] > len(facts[kind]):
            out.print(Text(f"  ... and {facts['num_' + kind] - len(facts[kind]):,} more", style="dim"))
    for line in facts["settings"]:
        err.print(Text(f"setting {line}"))


@app.command()
def shards(
    folder: Folder,
    target: Annotated[Path, typer.Option("--out", help="Folder to make; the same command again is skipped.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer folder or file; default: learn one from the documents.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Tokens of a learned tokenizer.", min=512)] = 32768,
    eos: Annotated[bool, typer.Option("--eos", help="Close every document with an end token too.")] = False,
    heldout: Annotated[
        float, typer.Option(help="Share of the documents for a shard of their own.", min=0.0, max=0.49)
    ] = 0.0,
    length: Annotated[
        int | None, typer.Option(help="Tokens per packed row; default: no packing plan.", min=2)
    ] = None,
    mode: Annotated[str, typer.Option(help="How rows are packed: stream, best-fit, pad.")] = "best-fit",
    webdataset: Annotated[
        bool, typer.Option("--webdataset", help="Write the packed rows as WebDataset files too.")
    ] = False,
    hdf5: Annotated[bool, typer.Option("--hdf5", help="Write the packed rows as HDF5 too.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a data folder into token shards; any token leads back to its document, source and licence.

    Exit codes: 0 done, 2 settings that exclude each other, 4 not a data folder, 6 missing package.

    Example: ownlm data shards out/web --out out/shards --vocab-size 32768 --length 2048
    """
    from ownlm.pipeline import token_shards

    if mode not in ("stream", "best-fit", "pad"):
        raise UsageError("There is no such packing mode.", mode, "stream, best-fit or pad")
    settings = token_shards.ShardSettings(
        tokenizer=tokenizer, vocab_size=vocab_size, eos=eos, heldout_fraction=heldout, length=length, mode=mode,  # type: ignore[arg-type]
        webdataset=webdataset, hdf5=hdf5,
    )  # fmt: skip
    manifest, made = token_shards.make(folder, target, settings, notice)
    if as_json:
        print_json({"folder": str(target), "digest": manifest.digest, "made": made, **manifest.metrics})
        return
    _print_shards(manifest.metrics)


def _print_shards(facts: dict[str, Any]) -> None:
    out.print(
        f"{facts['num_documents']:,} documents, {facts['num_tokens']:,} tokens, {facts['num_bytes'] / facts['num_tokens']:.2f} bytes per token"
    )
    if "packing" in facts:
        packing = facts["packing"]
        out.print(
            f"{packing['num_rows']:,} rows of {packing['length']} ({packing['mode']}): {packing['padding_share']:.1%} padding, {packing['documents_cut']:,} documents cut"
        )
