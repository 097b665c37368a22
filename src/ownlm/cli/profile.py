"""`ownlm profile`: where the time and memory of a training step go, on this machine, for a size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.output import notice, out, print_json


def profile(
    depth: Annotated[int, typer.Option(help="Size dial: layers of the model (`from_dial`).", min=1)] = 4,
    vocab_size: Annotated[int, typer.Option(help="Rows of the embedding.", min=2)] = 8192,
    context: Annotated[int, typer.Option(help="Tokens of a row.", min=2)] = 256,
    rows: Annotated[int, typer.Option(help="Rows of a batch.", min=1)] = 8,
    steps: Annotated[int, typer.Option(help="Steps to look at, after two of warm-up.", min=1)] = 3,
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float8.")] = "auto",
    optimizer: Annotated[str, typer.Option(help="Name of an optimizer.")] = "muon",
    recompute: Annotated[str, typer.Option(help="none, attention or blocks.")] = "none",
    eager: Annotated[
        bool, typer.Option("--eager", help="Without torch.compile: operations by name.")
    ] = False,
    top: Annotated[int, typer.Option(help="Operations to print.", min=1)] = 15,
    folder: Annotated[Path, typer.Option("--out", help="Folder for trace.json and memory.jsonl.")] = Path(
        "out/profile"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Profile a few training steps on random tokens: a table of operations, a Chrome trace, a memory timeline.

    Exit codes: 0 done, 2 settings that contradict themselves, 5 machine.

    Example: ownlm profile --depth 8 --context 512 --eager --out out/profile
    """
    import torch

    from ownlm.model.decoder import Decoder
    from ownlm.model.presets import from_dial
    from ownlm.train.batches import Batch
    from ownlm.train.config import TrainConfig
    from ownlm.train.profile import profile as measure

    config = TrainConfig(
        num_steps=steps + 2, optimizer=optimizer, precision=precision, recompute=recompute, compile=not eager,  # type: ignore[arg-type]
        on_spike="ignore", checkpoint_seconds=1e9,
    )  # fmt: skip

    def batch_at(step: int) -> Batch:
        random = torch.Generator().manual_seed(step)
        ids = torch.randint(vocab_size, (rows, context + 1), generator=random)
        return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())

    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Decoder(from_dial(depth, vocab_size, context)).to(device)
    found = measure(model, batch_at, config, folder, notice)
    if as_json:
        facts = found.as_dict()
        print_json(facts | {"parameters": model.num_parameters(), "operations": facts["operations"][:top]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("operation", "calls a step", "ms a step", "share", "MiB a step"):
        table.add_column(name, justify="left" if name == "operation" else "right", overflow="fold")
    for one in found.operations[:top]:
        table.add_row(one.name, f"{one.calls_per_step:,.0f}", f"{one.milliseconds_per_step:.2f}", f"{one.share:.1%}",
                      f"{one.bytes_per_step / 2**20:.1f}")  # fmt: skip
    out.print(table)
    out.print(
        f"{model.num_parameters():,} parameters, {found.milliseconds_per_step:.0f} ms a step under the profiler; "
        f"at most {found.peak_bytes / 2**20:.0f} MiB above the start, in {found.peak_operation}"
    )
    out.print(f"trace: {found.trace}, memory: {found.memory}")
