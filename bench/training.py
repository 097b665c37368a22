"""Training speed: tokens per second and MFU of ownlm's loop beside peers in the same run.

    python bench/training.py [--shapes S M] [--steps 5] [--precision auto] [--no-compile]
                             [--nanogpt PATH] [--out bench/results/training-DATE.json]

Shapes (vocabulary 8192): S 6 layers, d 384, context 256, 4,096 tokens a step; M 8 layers, d 512, context 512, 2,048
tokens a step. nanoGPT is taken from a path (its model.py; GPT with the same layers, width and vocabulary, AdamW)
and never shipped. One JSON line per result; medians over --steps steps after a first one, which is timed alone because
it compiles. MFU is the share of the fastest 2048^3 matrix product measured in the same minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime import hardware
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.peak import matmul_peak
from ownlm.train.precision import autocast, resolve

VOCAB = 8192
SHAPES = {"S": (6, 384, 256, 4096), "M": (8, 512, 512, 2048)}  # layers, width, context, tokens a step


def config_of(shape: str) -> ModelConfig:
    layers, width, context, _ = SHAPES[shape]
    return ModelConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=-(-width * 8 // 3 // 64) * 64, num_layers=layers,
        num_heads=width // 64, num_kv_heads=width // 64, head_dim=64, max_positions=context,
    )  # fmt: skip


def batch_of(shape: str) -> Callable[[int], Batch]:
    _, _, context, tokens = SHAPES[shape]

    def batch_at(step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(0, VOCAB, (tokens // context, context + 1), generator=generator)
        return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())

    return batch_at


def ours(shape: str, steps: int, settings: dict[str, Any]) -> dict[str, Any]:
    model = Decoder(config_of(shape))
    config = TrainConfig(num_steps=steps + 1, checkpoint_seconds=1e9, **settings)
    notices: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        seconds = [
            record.seconds for record in train(model, batch_of(shape), config, Path(folder), notices.append)
        ]
    return {"who": "ownlm", "settings": settings, "parameters": model.num_parameters(), "notices": notices,
            **speed(shape, seconds, model.flops_per_token(SHAPES[shape][2]))}  # fmt: skip


def nanogpt(shape: str, steps: int, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """nanoGPT's model with its own AdamW and loss, in our precision; `as it comes` is float32 and eager."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", path / "model.py")
    assert spec is not None and spec.loader is not None, f"{path} has no model.py"
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    layers, width, context, _ = SHAPES[shape]
    model = module.GPT(module.GPTConfig(block_size=context, vocab_size=VOCAB, n_layer=layers, n_head=width // 64,
                                        n_embd=width, dropout=0.0, bias=False))  # fmt: skip
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    precision, _ = resolve(settings["precision"], torch.device("cpu"))
    step_of = torch.compile(model) if settings["compile"] else model
    seconds = []
    for step in range(steps + 1):
        batch, began = batch_of(shape)(step), time.perf_counter()
        with autocast(precision, torch.device("cpu")):
            _, loss = step_of(batch.inputs, batch.targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "wpe" not in n)
    flops = 6 * matrices + 12 * layers * width * context
    return {"who": "nanoGPT", "settings": settings, "parameters": model.get_num_params(),
            **speed(shape, seconds, flops)}  # fmt: skip


def speed(shape: str, seconds: list[float], flops_per_token: int) -> dict[str, Any]:
    first, *rest = seconds
    middle = statistics.median(rest)
    rate = SHAPES[shape][3] / middle
    return {
        "shape": shape, "first_step_seconds": round(first, 2), "step_seconds": [round(s, 4) for s in rest],
        "tokens_per_second": round(rate, 1), "gflops_per_second": round(rate * flops_per_token / 1e9, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--out", type=Path, help="also keep the results in this file")
    options = parser.parse_args()
    precision, _ = resolve(options.precision, torch.device("cpu"))
    machine = hardware.facts().as_dict()
    lines = []
    for shape in options.shapes:
        settings = {"precision": options.precision, "compile": not options.no_compile}
        runs = [lambda shape=shape, s=settings: ours(shape, options.steps, s)]
        if options.nanogpt:
            plain = {"precision": "float32", "compile": False}
            runs.append(lambda shape=shape, s=settings: nanogpt(shape, options.steps, options.nanogpt, s))
            runs.append(lambda shape=shape, s=plain: nanogpt(shape, options.steps, options.nanogpt, s))
        for run in runs:
            torch.set_num_threads(machine["cores"])
            before = matmul_peak(precision, "cpu", machine["cores"])
            result = {"bench": "training", "date": datetime.now(UTC).isoformat(timespec="seconds"), **run()}
            matmul_peak.cache_clear()
            peak = max(
                before, matmul_peak(precision, "cpu", machine["cores"])
            )  # the limit, not the neighbour's load
            result |= {"precision": precision, "peak_gflops": round(peak / 1e9, 1), "machine": machine["processor"],
                       "mfu": round(result["gflops_per_second"] * 1e9 / peak, 3)}  # fmt: skip
            lines.append(json.dumps(result))
            print(lines[-1], flush=True)
            torch._dynamo.reset()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
