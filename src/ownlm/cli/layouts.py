"""`ownlm plan layouts`: which ways to share a model out over a cluster fit its memory, the fastest first."""

from __future__ import annotations

from typing import Annotated

import typer

from ownlm.cli.build import Json
from ownlm.cli.output import notice, out, print_json
from ownlm.errors import UsageError


def layouts(
    model: Annotated[str, typer.Option(help="A known shape: 1.3b, 7b, 8b, 70b, 175b.")] = "7b",
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 64,
    gpu: Annotated[str, typer.Option(help="Kind of GPU: a100-80, h100-80, h200-141.")] = "h100-80",
    gpus_per_node: Annotated[int, typer.Option(min=1, help="GPUs of a machine.")] = 8,
    network: Annotated[float, typer.Option(help="Between machines, GB/s for each GPU.")] = 50.0,
    rows: Annotated[int, typer.Option(min=1, help="Sequences of one step, all GPUs together.")] = 1024,
    tokens: Annotated[float, typer.Option(min=0, help="Tokens to train on, for days and price.")] = 1e12,
    price: Annotated[float, typer.Option(min=0, help="USD per GPU and hour.")] = 4.0,
    count: Annotated[int, typer.Option(min=1, help="Show so many.")] = 12,
    as_json: Json = False,
) -> None:
    """List the layouts (data, tensor, pipeline, context parallel) that fit, with memory, step time, MFU and price.

    Nothing is measured: the constants are in ownlm/plan/layouts.py. rows: of a micro-batch;
    stages: per process; here: whether ownlm itself trains like this.

    Exit codes: 0 listed, 2 an unknown name, or nothing fits.

    Example: ownlm plan layouts --model 175b --gpus 1024 --gpu a100-80 --rows 1536
    """
    from ownlm.plan.layouts import SHAPES, Cluster
    from ownlm.plan.layouts import layouts as find

    if model not in SHAPES:
        raise UsageError("This model's shape is not known.", repr(model), f"use one of {', '.join(SHAPES)}")
    found = find(SHAPES[model], Cluster(gpus, gpu, gpus_per_node, network * 1e9), rows)
    days = [tokens / row.tokens_per_second / 86_400 for row in found]
    if as_json:
        listed = [row.as_dict() | {"days": d, "usd": d * 24 * gpus * price} for row, d in zip(found, days, strict=True)]  # fmt: skip
        print_json(
            {"model": model, "gpus": gpus, "gpu": gpu, "rows": rows, "tokens": tokens, "layouts": listed}
        )
        return
    # Lines, not a rich table: into a file that would be 80 columns wide, with every name broken.
    out.print(f"{model} on {gpus} x {gpu}")
    out.print(f"{'layout':<30}{'rows':>5}{'stages':>7}  {'recompute':<10}{'ZeRO':>5}{'GB':>5}{'step s':>8}{'MFU':>7}{'bubble':>8}"
              f"{'comm.':>7}{'days':>8}{'USD':>13}  here")  # fmt: skip
    for row, d in list(zip(found, days, strict=True))[:count]:
        s = row.split
        out.print(f"{s!s:<30}{s.micro_rows:>5}{s.chunks:>7}  {s.recompute:<10}{s.zero:>5}{row.memory / 1e9:>5.0f}{row.step_seconds:>8.2f}"
                  f"{row.mfu:>7.1%}{row.bubble:>8.1%}{row.communication:>7.1%}{d:>8.1f}{d * 24 * gpus * price:>13,.0f}"
                  f"  {'yes' if s.runs_here else 'no'}")  # fmt: skip
    if len(found) > count:
        notice(f"{len(found) - count} slower layouts fit as well: --count {len(found)}")
