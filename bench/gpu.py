"""Training on one GPU, by the very loop that trains on a CPU: tokens per second and MFU of 125M, 350M and 1.3B.

    python bench/gpu.py [--sizes 125M 350M 1.3B] [--precisions bfloat16] [--steps 20] [--device cuda] [--tiny]
                        [--out bench/results/gpu-DATE.jsonl]

MFU is the share of the fastest matrix product measured here in the same precision, not of the data sheet. --tiny shrinks
every size, so that the program itself can be tried on a CPU. One JSON line per result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

SIZES = {"125M": (12, 768, 12, 16), "350M": (24, 1024, 16, 8), "1.3B": (24, 2048, 16, 4)}
"""Layers, width, heads (GPT-3's table 2.1, Brown et al. 2020, arXiv:2005.14165), rows of a forward."""
VOCAB, CONTEXT, ROWS = 50304, 2048, 64


def config_of(size: str, tiny: bool) -> ModelConfig:
    layers, width, heads, _ = SIZES[size]
    if tiny:
        layers, width, heads = 2, 64 * heads // 4, heads // 4
    return ModelConfig(
        vocab_size=512 if tiny else VOCAB, hidden_size=width, intermediate_size=-(-width * 8 // 3 // 128) * 128,
        num_layers=layers, num_heads=heads, num_kv_heads=heads, head_dim=width // heads, max_positions=64 if tiny else CONTEXT,
    )  # fmt: skip


def measure(size: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    shape = config_of(size, options.tiny)
    with torch.device(options.device):
        model = Decoder(shape)
    context, rows = shape.max_positions, 4 if options.tiny else ROWS

    def batch_at(step: int) -> Batch:
        ids = torch.randint(
            0, shape.vocab_size, (rows, context + 1), generator=torch.Generator().manual_seed(step)
        )
        return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())

    config = TrainConfig(num_steps=options.steps + 3, precision=precision, micro_tokens=SIZES[size][3] * context,
                         checkpoint_seconds=1e9, background_saves=False)  # fmt: skip
    notices: list[str] = []
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        records = list(train(model, batch_at, config, Path(folder), notices.append))
    seconds = statistics.median(r.seconds for r in records[3:])
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else 0
    return {
        "size": size, "parameters": model.num_parameters(), "precision": precision, "tokens_per_second": round(rows * context / seconds),
        "mfu": round(statistics.median(r.mfu for r in records[3:]), 3), "first_step_seconds": round(records[0].seconds, 2),
        "step_seconds": round(seconds, 4), "peak_memory_gib": round(peak / 2**30, 2), "loss": [round(r.loss, 4) for r in records[::5]],
        "notices": notices,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument(
        "--precisions", nargs="+", default=["bfloat16"], choices=("float32", "bfloat16", "float16", "float8")
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, help="also keep the results in this file")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    lines = []
    for size in options.sizes:
        for precision in options.precisions:
            facts = {
                "bench": "gpu training",
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "device": device,
            }
            lines.append(json.dumps(facts | measure(size, precision, options)))
            print(lines[-1], flush=True)
            torch._dynamo.reset()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
