"""Data parallelism against ZeRO stages 1 to 3: memory per process, step time, bytes sent; the losses must agree.

    python -m torch.distributed.run --standalone --nproc-per-node 2 recipes/fsdp_against_ddp.py
    ... recipes/fsdp_against_ddp.py --width 512 --layers 8 --context 512 --rows 16 --steps 50 --out report.json

Each layout trains the same model from the same weights on the same batches. Per process, in MB:

    weights     held between steps            gathered   most that stands beside them in a forward
    gradients   held after the backward       state      of the optimizer (AdamW: two numbers per weight)
    sent        by one process in one step, from the formula (train/parallel/cost.py); for ddp and zero1 also counted

On one machine without GPUs the processes share the memory bus and the cores, so step times show the price of the
layouts and not their gain. Text: two modules of Python's standard library, read as bytes.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train import setup
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.objectives.causal import Causal
from ownlm.train.parallel import cost, launch
from ownlm.train.parallel.data_parallel import DataParallel
from ownlm.train.parallel.dist import Place, joined
from ownlm.train.parallel.fully_sharded import FullySharded

DEFAULTS = {"width": 64, "layers": 2, "context": 64, "rows": 8, "steps": 12, "seed": 0}
MB = 1e6


def model_of(args: argparse.Namespace) -> Decoder:
    heads = args.width // 16
    return Decoder(ModelConfig(256, args.width, 3 * args.width, args.layers, heads, heads, 16, args.context), args.seed)  # fmt: skip


def config_of(args: argparse.Namespace) -> TrainConfig:
    return TrainConfig(args.steps, optimizer="adamw", micro_tokens=args.rows * args.context, seed=args.seed,
                       compile=False, precision="float32", checkpoint_seconds=1e9, threads=1)  # fmt: skip


def held(name: str, args: argparse.Namespace, batches: ShardBatches, place: Place) -> dict[str, float]:
    """Bytes on this process in one forward and backward of its share of a step."""
    model, config = model_of(args).to(place.device), config_of(args)
    layout = launch.layout_from(name, model, config, lambda text: None)
    groups = setup.groups_of(model, config, "float32", layout)
    seen = {"weights": 0.0, "gathered": 0.0, "gradients": 0.0, "state": 0.0}

    def look(*_: object) -> None:
        if isinstance(layout, FullySharded):
            now = layout.held_bytes()
        else:
            gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
            now = {"shards": sum(weight.nbytes for weight in model.parameters()), "gathered": 0,
                   "gradients": sum(gradient.nbytes for gradient in gradients)}  # fmt: skip
        seen["weights"] = now["shards"]
        for key in ("gathered", "gradients"):
            seen[key] = max(seen[key], now[key])

    for block in model.blocks:
        block.mixer.register_forward_hook(look)  # the block's own weights are still gathered there
    batch = layout.share(batches(0)).to(place.device)
    Causal()(model, batch, args.rows * args.context).backward()
    look()
    seen["state"] = sum(group.optimizer.state_bytes() for group in groups)
    return {key: _largest(value, place) for key, value in seen.items()}


def measured(name: str, args: argparse.Namespace, batches: ShardBatches, place: Place) -> dict[str, Any]:
    """One layout's row of the table; of the processes the one that holds most."""
    memory = held(name, args, batches, place)
    model = model_of(args).to(place.device)
    parameters, p = model.num_parameters(), place.num_processes
    block = sum(weight.numel() for weight in model.blocks[0].parameters())
    at_once = parameters - (args.layers - 1) * block
    layout = launch.layout_from(name, model, config_of(args), lambda text: None)
    with tempfile.TemporaryDirectory() as folder:
        records = list(train(model, batches, config_of(args), Path(folder), lambda text: None, layout=layout))
    sent = layout.sent_bytes / args.steps if isinstance(layout, DataParallel) else None
    return {
        "layout": name, **{key: value / MB for key, value in memory.items()}, "total": sum(memory.values()) / MB,
        "formula": cost.memory(name, p, parameters, gathered=at_once).total / MB,
        "sent": cost.step_bytes(name, p, parameters) / MB, "counted": None if sent is None else _largest(sent, place) / MB,
        "seconds": statistics.median(record.seconds for record in records[2:]),
        "losses": [record.loss for record in records],
    }  # fmt: skip


def _largest(value: float, place: Place) -> float:
    number = torch.tensor(value, dtype=torch.float64, device=place.device)
    dist.all_reduce(number, op=dist.ReduceOp.MAX)
    return float(number)


def show(rows: list[dict[str, Any]]) -> None:
    columns = [name for name in rows[0] if name != "losses"]
    print("  ".join(f"{name:>9}" for name in [*columns, "last loss"]))
    for row in rows:
        cells = [row[name] for name in columns] + [row["losses"][-1]]
        print("  ".join(f"{'-' if c is None else c if isinstance(c, str) else f'{c:.4f}':>9}" for c in cells))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    args = parser.parse_args()
    text = Path(argparse.__file__).read_bytes() + Path(statistics.__file__).read_bytes()
    batches = ShardBatches(np.frombuffer(text, np.uint8), args.context, args.rows, args.seed)
    with joined() as place:
        rows = [measured(name, args, batches, place) for name in ("ddp", "zero1", "zero2", "zero3")]
        furthest = max(abs(a / b - 1) for row in rows for a, b in zip(row["losses"], rows[0]["losses"]))
        if place.rank == 0:
            show(rows)
            print(
                f"{place.num_processes} processes on {place.device}; losses differ by {furthest:.1e} at most"
            )
            if args.out:
                args.out.write_text(json.dumps({"processes": place.num_processes, "rows": rows}, indent=1))
        if furthest > 1e-4:
            raise SystemExit("the layouts do not train the same model")


if __name__ == "__main__":
    main()
