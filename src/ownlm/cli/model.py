"""`ownlm model inspect|presets|isotropy|entropy`: what a model is made of, before and after one has its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from ownlm.cli.output import notice, out, print_json
from ownlm.errors import UsageError

app = typer.Typer(help="Look into models: components, shapes, costs, known sizes.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
CONTEXTS = (1024, 8192, 131072)


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(help="A model folder (Hugging Face layout), a finished build, or a GGUF file.")
    ],
    tokens: Annotated[int, typer.Option(help="Length of the traced text.", min=1)] = 16,
    context: Annotated[list[int] | None, typer.Option(help="Contexts to give costs for; repeatable.")] = None,
    trace: Annotated[
        bool, typer.Option(help="Run a forward pass and show every module's output shape.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Print configuration, parameters per component, cache bytes, FLOPs and a traced forward with shapes.

    Exit codes: 0 shown, 4 no model or a damaged one.

    Example: ownlm model inspect out/quickstart --tokens 32 --context 4096
    """
    import torch

    from ownlm.model import inspect as look

    model = _load(path)
    contexts = context or list(CONTEXTS)
    weights = list(model.parameters())
    num_bytes = sum(w.nbytes for w in weights)
    facts: dict[str, Any] = {
        "path": str(path),
        "class": type(model).__name__,
        "config": look.plain(getattr(model, "config", {})),
        "num_parameters": model.num_parameters(),
        "weight_bytes": num_bytes,
        "components": [look.as_dict(c) for c in look.components(model)],
        "costs": [look.as_dict(c) for c in look.context_costs(model, contexts, weights[0].element_size())],
    }
    calls = []
    if trace:
        ids = torch.arange(tokens)[None] % facts_vocab(model)
        inputs = (ids, ids) if hasattr(model, "encode") and hasattr(model, "decode") else (ids,)
        calls = look.trace(model, *inputs)
        facts["trace"] = [look.as_dict(call) for call in calls]
        facts["forward_flops_measured"] = look.measured_flops(model, *inputs)
    if as_json:
        print_json(facts)
        return
    _print(facts, look.described(getattr(model, "config", None)), look.folded(calls), tokens)


def facts_vocab(model: Any) -> int:
    """Rows of the first embedding: ids of the traced text stay below."""
    from torch import nn

    return next((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), 256)


def _load(path: Path) -> Any:
    from ownlm.model.adapters import gguf, hf

    if path.suffix == ".gguf":
        return gguf.load(path)
    inner = path / "model"
    return hf.load(inner if not (path / "config.json").is_file() and inner.is_dir() else path)


def _print(facts: dict[str, Any], described: list[str], calls: list[tuple[Any, int]], tokens: int) -> None:
    from rich.table import Table

    out.print(
        f"[bold]{facts['class']}[/]  {facts['num_parameters']:,} parameters, {size(facts['weight_bytes'])} of weights"
    )
    for line in described:
        out.print(f"  {line}", markup=False)
    table = Table(title="Parameters per component", title_justify="left")
    for head, side in (
        ("component", "left"),
        ("tensors", "right"),
        ("parameters", "right"),
        ("share", "right"),
    ):
        table.add_column(head, justify=side)  # type: ignore[arg-type]
    for row in facts["components"]:
        table.add_row(row["name"], str(row["count"]), f"{row['parameters']:,}", f"{row['share']:.1%}")
    out.print(table)
    table = Table(title="Cost of a context, one sequence", title_justify="left")
    for head in ("context", "forward FLOPs per token", "cache"):
        table.add_column(head, justify="right")
    for row in facts["costs"]:
        table.add_row(f"{row['context']:,}", f"{row['flops_per_token']:,}", size(row["cache_bytes"]))
    out.print(table)
    if not calls:
        return
    table = Table(title=f"A forward pass of {tokens} tokens", title_justify="left")
    for head, side in (
        ("module", "left"),
        ("class", "left"),
        ("output", "left"),
        ("alike", "right"),
        ("ms", "right"),
    ):
        table.add_column(head, justify=side, overflow="fold")  # type: ignore[arg-type]
    for call, number in calls:
        alike = f"x {number}" if number > 1 else ""
        table.add_row(
            call.name, call.kind, " x ".join(map(str, call.shape)), alike, f"{call.milliseconds:.2f}"
        )
    out.print(table)
    formula = facts["num_parameters"]
    out.print(f"FLOPs counted by torch in this pass: {facts['forward_flops_measured']:,} "
              f"({facts['forward_flops_measured'] / tokens / 2 / max(1, formula):.2f} x 2 x parameters per token)")  # fmt: skip


def size(num_bytes: int) -> str:
    """1536 -> '1.50 KiB'."""
    value, units = float(num_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.2f} {units[0]}"


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One model of the table.")] = None,
    config: Annotated[bool, typer.Option("--config", help="Print the model's config.json.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Also build every module (without memory) and count it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the size table of well-known models: parameters from the formula, cache bytes, FLOPs.

    Example: ownlm model presets llama-3.1-70b --config
    """
    from ownlm.model import sizes
    from ownlm.model.published import PUBLISHED

    if name is not None and name not in PUBLISHED:
        raise UsageError("The table has no such model.", repr(name), f"choose one of {', '.join(PUBLISHED)}")
    names = [name] if name else list(PUBLISHED)
    if config:
        if name is None:
            raise UsageError("--config needs the name of one model.", "", "ownlm model presets gpt2 --config")
        import json

        out.print(json.dumps(PUBLISHED[name], indent=2), markup=False)
        return
    rows = [sizes.row(each, count_module=check) for each in names]
    if as_json:
        print_json({"models": [row.as_dict() for row in rows]})
        return
    out.print(sizes.table(rows), markup=False)
    wrong = [row.name for row in rows if row.module_parameters not in (None, row.parameters)]
    if wrong:
        notice(f"formula and module differ: {', '.join(wrong)}")
        raise typer.Exit(1)


@app.command()
def isotropy(
    path: Annotated[Path, typer.Argument(help="A model folder or a finished build.")],
    picture: Annotated[
        Path | None, typer.Option(help="Write the histogram there (.png, .svg, .pdf).")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Random pairs of rows.", min=10)] = 50_000,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Histogram and mean of the cosines of random pairs of embedding rows.

    Example: ownlm model isotropy out/quickstart --picture isotropy.png
    """
    from torch import nn

    from ownlm.model import isotropy as measure

    model = _load(path)
    name, table = next((n, m.weight) for n, m in model.named_modules() if isinstance(m, nn.Embedding))
    found = measure.isotropy(table, pairs, seed)
    if picture is not None:
        measure.draw(found, picture, f"{path.name}: {name}")
    if as_json:
        print_json({"table": name, "picture": str(picture) if picture else None, **_fields(found)})
        return
    top = max(found.counts)
    for count, low in zip(found.counts, found.edges, strict=False):
        if count:
            out.print(f"{low:+.3f} {'█' * round(50 * count / top)} {count:,}")
    out.print(f"{name}: mean cosine {found.mean:+.4f}, std {found.std:.4f}; even directions: 0 ± {found.expected_std:.4f}; "
              f"{found.num_pairs:,} pairs, {found.num_zero_rows} rows of length 0 left out")  # fmt: skip
    if picture is not None:
        out.print(f"picture: {picture}")


def _fields(found: Any) -> dict[str, Any]:
    return {field: getattr(found, field) for field in found.__dataclass_fields__}


@app.command()
def entropy(
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw the curve there (.png, .svg, .pdf).")
    ] = None,
    keys: Annotated[int, typer.Option(help="Keys that a query chooses from.", min=1)] = 64,
    head_dim: Annotated[int, typer.Option(help="Width of a head.", min=1)] = 64,
    queries: Annotated[int, typer.Option(help="Random queries to average over.", min=1)] = 32,
    temperature: Annotated[
        list[float] | None, typer.Option(help="Temperatures, repeatable; else 0.01 to 100.")
    ] = None,
    scores: Annotated[
        list[float] | None,
        typer.Option(help="Scores of one query's keys, repeatable, instead of random ones."),
    ] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Show how the temperature of attention's softmax moves its entropy from 0 to log n.

    The scores are q k / sqrt(head_dim) of standard normal queries and keys, or those that are given.
    Exit codes: 0 shown, 2 a wrong number or file ending, 6 no matplotlib for --out.

    Example: ownlm model entropy --out entropy.png --keys 128
    """
    from ownlm.model import attention_math as maths

    temperatures = sorted(temperature) if temperature else [round(10 ** (e / 4), 6) for e in range(-8, 9)]
    table = maths.given_scores(scores) if scores else maths.random_scores(queries, keys, head_dim, seed)
    found = maths.entropy_by_temperature(table, temperatures).tolist()
    limit = math.log(table.shape[-1])
    if picture is not None:
        maths.draw_entropy(table, temperatures, picture)
    if as_json:
        rows = [{"temperature": t, "entropy_nats": e} for t, e in zip(temperatures, found, strict=True)]
        print_json({"num_keys": table.shape[-1], "log_n": limit, "curve": rows, "picture": str(picture) if picture else None})  # fmt: skip
        return
    out.print("temperature  nats    of log n")
    for t, nats in zip(temperatures, found, strict=True):
        share = nats / limit if limit else 0.0
        out.print(f"{t:>11g}  {nats:6.4f}  {share:6.1%} {'█' * round(40 * share)}")
    out.print(f"{table.shape[-1]} keys: log n = {limit:.4f}")
    if picture is not None:
        out.print(f"picture: {picture}")
