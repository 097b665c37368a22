"""What a step of each optimizer costs, and which share of a training step that is.

    python bench/optimizers.py [--shapes S M] [--names muon adamw ...] [--repeats 5] [--out FILE]

Shapes as in bench/training.py. Muon has its matrices and AdamW the rest, as in a run; `muon-blocks` orthogonalises
heads (64 rows) by themselves; the others have all weights. `share` is the step over (forward, backward and step), eager,
in the precision of a run on this machine, medians of --repeats taken in turns. One JSON line per result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from training import SHAPES, batch_of, config_of

from ownlm.model.decoder import Decoder
from ownlm.runtime import hardware
from ownlm.train.config import TrainConfig
from ownlm.train.loop import forward_backward
from ownlm.train.optimizers.muon import Muon
from ownlm.train.optimizers.table import OPTIMIZERS
from ownlm.train.setup import prepare


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(shape: str, name: str, repeats: int) -> dict[str, object]:
    model = Decoder(config_of(shape))
    blocks = name == "muon-blocks"
    config = TrainConfig(num_steps=100, compile=False, optimizer="muon" if blocks else name,
                         optimizer_options={"block_rows": 64} if blocks else {})  # fmt: skip
    setup = prepare(model, config, lambda text: None)
    batch = batch_of(shape)(0)
    passes, steps, muons = [], [], []
    for turn in range(repeats + 1):
        took = seconds(lambda: forward_backward(model, batch, setup, config))
        parts = [(seconds(lambda g=g: g.optimizer.step(1e-6)), g.optimizer) for g in setup.groups]
        if turn:  # the first one warms up
            passes.append(took)
            steps.append(sum(part for part, _ in parts))
            muons.append(sum(part for part, optimizer in parts if isinstance(optimizer, Muon)))
        for weight in model.parameters():
            weight.grad = None
    weights = sum(weight.numel() for weight in model.parameters())
    middle = statistics.median(steps)
    return {
        "bench": "optimizers", "date": datetime.now(UTC).isoformat(timespec="seconds"), "shape": shape, "name": name,
        "step_ms": round(1e3 * middle, 1), "muon_ms": round(1e3 * statistics.median(muons), 1),
        "share": round(middle / (middle + statistics.median(passes)), 4),
        "bytes_per_weight": round(sum(g.optimizer.state_bytes() for g in setup.groups) / weights, 3),
        "precision": setup.precision, "machine": hardware.facts().processor,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--names", nargs="+", default=["muon-blocks", *OPTIMIZERS])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also keep the results in this file")
    options = parser.parse_args()
    lines = []
    for shape in options.shapes:
        for name in options.names:
            lines.append(json.dumps(measure(shape, name, options.repeats)))
            print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
