"""Are the predictions right? Twelve small trainings, each in a process of its own: memory, time and loss predicted by
plan/, beside what was measured.

    python bench/plan.py [--threads N] [--only 1-60 ...] [--data PREFIX] [--out bench/results/plan-DATE.json]

* memory: peak resident bytes of the process, against plan.memory.step_bytes
* time: median seconds of the steps after the first two, against plan.hardware.step_seconds at the matrix-product peak
  measured in the same process right after. Only a quiet machine says anything: `share` is what to re-fit from
* loss: on held-out text, against plan.scaling: each run from a law fitted to the other eleven, by its own interval

Four depths, three lengths, three contexts. The text is the first 4 MB of Python's standard library as bytes, or the
tokens of --data (a prefix of shards). One thread: where a second one must be woken for every
small operation, that is the time that is measured. Not covered: torch.compile and several processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

# depth, context, steps of BATCH tokens
RUNS = (
    (1, 64, 60), (1, 128, 120), (1, 256, 240), (2, 128, 60), (2, 256, 120), (2, 64, 240),
    (3, 256, 60), (3, 64, 120), (3, 128, 240), (4, 64, 60), (4, 128, 120), (4, 256, 240),
)  # fmt: skip
BATCH = 1024
BARS = {"memory": 0.15, "time": 0.20}


def one(depth: int, context: int, steps: int, threads: int, data: Path | None) -> dict[str, Any]:  # fmt: skip
    """Train in this process and measure it."""
    import torch

    from ownlm.model.decoder import Decoder
    from ownlm.model.presets import from_dial
    from ownlm.train.batches import ShardBatches
    from ownlm.train.config import TrainConfig
    from ownlm.train.ladder import text
    from ownlm.train.loop import train
    from ownlm.train.peak import matmul_peak

    torch.set_num_threads(threads)
    ids, vocab_size = standard_text() if data is None else text.read(data)
    parts = text.split(ids, vocab_size, 32 * 1024, context, "bench")
    model = Decoder(from_dial(depth, vocab_size, context), 0)
    config = TrainConfig(num_steps=steps, precision="float32", compile=False, threads=threads, checkpoint_seconds=1e9)  # fmt: skip
    batches = ShardBatches(parts.train, context, BATCH // context, 0)
    with tempfile.TemporaryDirectory() as folder:
        seconds = [r.seconds for r in train(model, batches, config, Path(folder), notice=lambda told: None)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # Loss and peak come afterwards: neither may add to the memory of the training.
    loss, stderr = text.heldout_loss(model, parts.heldout, context)
    matmul_peak.cache_clear()
    return {
        "memory": peak, "step_seconds": statistics.median(seconds[2:]), "loss": loss, "loss_stderr": stderr,
        "unique_tokens": len(parts.train), "vocab_size": vocab_size, "gflops": matmul_peak("float32", "cpu", threads) / 1e9,
    }  # fmt: skip


def standard_text() -> tuple[np.ndarray, int]:
    """The first 4 MB of the standard library's text as bytes."""
    from ownlm.data.stdlib import standard_library

    found = bytearray()
    for document in standard_library():
        found += document.text.encode()
        if len(found) > 4_000_000:
            break
    return np.frombuffer(bytes(found), dtype=np.uint8), 256


def predicted(depth: int, context: int, measured: dict[str, Any]) -> dict[str, Any]:
    """What plan/ says of the same run's memory and time."""
    from ownlm.model import count
    from ownlm.model.presets import from_dial
    from ownlm.plan import hardware, memory

    config = from_dial(depth, measured["vocab_size"], context)
    flops = count.flops_per_token(config, context) * BATCH
    return {
        "parameters": count.num_parameters(config),
        "memory": memory.step_bytes(config, BATCH, context),
        "step_seconds": hardware.step_seconds(measured["gflops"], config, BATCH, context),
        "share": flops / measured["step_seconds"] / measured["gflops"] / 1e9,
    }


def predict_losses(rows: list[dict[str, Any]]) -> None:
    """Each run's loss from the other runs: adds "loss_predicted", "loss_interval" and "loss_inside"."""
    from ownlm.plan.scaling import chinchilla, predict

    points = [chinchilla.point(row["predicted"]["parameters"], row["tokens"], row["measured"]["unique_tokens"],
                               row["measured"]["loss"]) for row in rows]  # fmt: skip
    for number, row in enumerate(rows):
        fitted = chinchilla.fit(points[:number] + points[number + 1 :], samples=100)
        found = predict.predict(fitted, points[number].parameters, row["tokens"], row["measured"]["unique_tokens"])  # fmt: skip
        row |= {"loss_predicted": found.loss, "loss_interval": [found.low, found.high],
                "loss_inside": found.contains(row["measured"]["loss"])}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="runs by name, depth-steps, such as 1-60")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options.threads, options.data)))
        return
    rows = []
    for depth, context, steps in RUNS:
        name = f"{depth}-{steps}"
        if options.only and name not in options.only:
            continue
        command = [sys.executable, __file__, "--one", str(depth), str(context), str(steps), "--threads", str(options.threads)]  # fmt: skip
        done = subprocess.run([*command, *(["--data", str(options.data)] if options.data else [])], capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        measured = json.loads(done.stdout.splitlines()[-1])
        said = predicted(depth, context, measured)
        rows.append({
            "bench": "plan", "run": name, "context": context, "tokens": steps * BATCH, "threads": options.threads,
            "predicted": said, "measured": measured, "memory_error": said["memory"] / measured["memory"] - 1,
            "time_error": said["step_seconds"] / measured["step_seconds"] - 1,
        })  # fmt: skip
        print(f"{name:7} memory {measured['memory'] / 1e6:6.0f} MB ({rows[-1]['memory_error']:+.0%})  step {measured['step_seconds'] * 1e3:7.1f} ms "
              f"({rows[-1]['time_error']:+.0%}, share of the peak {said['share']:.2f})  loss {measured['loss']:.3f}", flush=True)  # fmt: skip
    if len(rows) == len(RUNS):
        predict_losses(rows)
    for row in rows:
        if "loss_inside" in row:
            low, high = row["loss_interval"]
            print(f"{row['run']:7} loss {row['measured']['loss']:.3f}, predicted {row['loss_predicted']:.3f}, "
                  f"in [{low:.2f}, {high:.2f}]: {'yes' if row['loss_inside'] else 'NO'}")  # fmt: skip
    summary = {"bench": "plan", "date": datetime.now(UTC).isoformat(timespec="seconds"), "runs": len(rows),
               **{f"{kind}_within_{bar:.0%}": sum(abs(row[f"{kind}_error"]) <= bar for row in rows) for kind, bar in BARS.items()},
               "loss_inside": sum(row.get("loss_inside", False) for row in rows)}  # fmt: skip
    print(json.dumps(summary))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"summary": summary, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
