"""Quality per minute: Tiny Shakespeare, character level, nanoGPT's split; ours and nanoGPT's own CPU recipe, one after the other.

    python bench/quality_per_minute.py --data input.txt --minutes 3 [--nanogpt DIR] [--size 'depth 6'] [--set KEY=VALUE]...
                                       [--out bench/results/quality-DATE.jsonl]

Ours is the command `ownlm pretrain data=input.txt size=... budget='3 min'`; its clock starts with the process, so that
imports, compilation and evaluation are inside. nanoGPT's recipe is the one of its README for a laptop's CPU, stopped at the
same time. Validation loss: nats per character on the last tenth of the text (nanoGPT: mean of random windows, as it
prints it; ours: every window of the context once).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ownlm.runtime import hardware

RECIPE = [
    "config/train_shakespeare_char.py",
    "--device=cpu",
    "--compile=False",
    "--eval_iters=20",
    "--log_interval=10",
    "--block_size=64",
    "--batch_size=12",
    "--n_layer=4",
    "--n_head=4",
    "--n_embd=128",
    "--max_iters=2000",
    "--lr_decay_iters=2000",
    "--dropout=0.0",
]


def ours(data: Path, minutes: float, size: str, settings: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ownlm.cli.main", "pretrain", f"data={data}", f"size={size}", f"budget={minutes} min",
                   *settings, "--out", folder, "--json"]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
    metrics = json.loads(done.stdout)["metrics"]
    return {"who": "ownlm", "size": size, "settings": settings, "seconds": round(seconds, 1), **metrics}


def nanogpt(data: Path, minutes: float, source: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "nanoGPT"
        shutil.copytree(source, place)
        shutil.copy(data, place / "data" / "shakespeare_char" / "input.txt")
        subprocess.run(
            [sys.executable, "data/shakespeare_char/prepare.py"], cwd=place, check=True, capture_output=True
        )
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-u", "train.py", *RECIPE], cwd=place, stdout=subprocess.PIPE, text=True
        )
        losses = []
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"step (\d+): .*val loss ([0-9.]+)", line):
                losses.append((int(match[1]), float(match[2]), round(time.perf_counter() - began, 1)))
            if time.perf_counter() - began > minutes * 60:
                process.kill()
        process.wait()
    step, loss, seconds = min(losses, key=lambda row: row[1])
    return {
        "who": "nanoGPT, its CPU recipe",
        "validation_loss": loss,
        "step": step,
        "seconds": seconds,
        "all": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="Tiny Shakespeare's input.txt")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--size", default="depth 6")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting of `ownlm pretrain`; may repeat"
    )
    parser.add_argument("--out", type=Path, help="also keep the results in this file")
    options = parser.parse_args()
    runs = [lambda: ours(options.data.resolve(), options.minutes, options.size, options.set)]
    if options.nanogpt:
        runs.append(lambda: nanogpt(options.data.resolve(), options.minutes, options.nanogpt))
    lines = []
    for run in runs:
        result = {"bench": "quality_per_minute", "date": datetime.now(UTC).isoformat(timespec="seconds"), "minutes": options.minutes,
                  **run(), "machine": hardware.facts().processor}  # fmt: skip
        lines.append(json.dumps(result))
        print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
