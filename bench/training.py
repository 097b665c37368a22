"""Training speed: tokens per second and MFU of ownlm's loop beside nanoGPT, HF Trainer, litgpt and nanochat, one run.

    python bench/training.py [--shapes S M] [--steps 5] [--precision auto] [--no-compile] [--peers PYTHON]
                             [--nanogpt DIR] [--nanochat DIR] [--out bench/results/training-DATE.jsonl]

Shapes: S 6 layers, d 384, context 256, 4,096 tokens a step, 65 characters (10.6 M parameters); M 8 layers, d 512, context
512, 2,048 tokens a step, vocabulary 8,192 (29.4 M). Peers are taken from an interpreter and from checkouts and never
shipped (training_peers.py). One JSON line per result; medians over --steps steps after a first one, which is timed alone
because it compiles. MFU is the share of the fastest matrix product measured just before and after.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ownlm.model.config import ModelConfig
from ownlm.model.count import flops_per_token
from ownlm.model.decoder import Decoder
from ownlm.runtime import hardware
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import forward_backward, train
from ownlm.train.optimizers.clip import clip_gradients
from ownlm.train.peak import matmul_peak
from ownlm.train.precision import resolve
from ownlm.train.setup import prepare

SHAPES = {"S": (6, 384, 256, 4096, 65), "M": (8, 512, 512, 2048, 8192)}
"""Layers, width, context, tokens a step, vocabulary."""


def config_of(shape: str) -> ModelConfig:
    layers, width, context, _, vocab = SHAPES[shape]
    return ModelConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=-(-width * 8 // 3 // 64) * 64, num_layers=layers,
        num_heads=width // 64, num_kv_heads=width // 64, head_dim=64, max_positions=context,
    )  # fmt: skip


def batch_of(shape: str) -> Callable[[int], Batch]:
    _, _, context, tokens, vocab = SHAPES[shape]

    def batch_at(step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(0, vocab, (tokens // context, context + 1), generator=generator)
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
            **speed(shape, seconds)}  # fmt: skip


def overhead(shape: str, steps: int, settings: dict[str, Any]) -> dict[str, Any]:
    """What the loop adds to its own forward, backward, clipping and update: steps of both in turn, on one model."""
    model = Decoder(config_of(shape))
    config = TrainConfig(num_steps=2 * steps + 2, checkpoint_seconds=1e9, **settings)
    setup = prepare(model, config, lambda text: None)
    whole, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        records = train(model, batch_of(shape), config, Path(folder), lambda text: None)
        for step in range(steps + 1):
            began = time.perf_counter()
            next(records)
            whole.append(time.perf_counter() - began)
            began = time.perf_counter()
            forward_backward(model, batch_of(shape)(step), setup, config)
            clip_gradients(model.parameters(), config.clip)
            setup.update(1e-3)
            for weight in model.parameters():
                weight.grad = None
            bare.append(time.perf_counter() - began)
    share = statistics.median(whole[1:]) / statistics.median(bare[1:]) - 1
    return {"who": "ownlm, loop beside bare steps", "shape": shape, "settings": settings, "loop_seconds": [round(s, 4) for s in whole[1:]],
            "bare_seconds": [round(s, 4) for s in bare[1:]], "overhead": round(share, 4)}  # fmt: skip


def peer(
    who: str, shape: str, steps: int, python: str, source: Path | None, precision: str, compiled: bool
) -> dict[str, Any]:
    """training_peers.py in the interpreter that has the peer."""
    layers, width, context, tokens, vocab = SHAPES[shape]
    command = [python, str(Path(__file__).with_name("training_peers.py")), who, "--shape",
               *map(str, (layers, width, context, tokens, vocab)), "--steps", str(steps), "--precision", precision]  # fmt: skip
    command += ["--compile"] if compiled else []
    command += ["--source", str(source)] if source else []
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([*command, "--scratch", scratch], capture_output=True, text=True)
    facts = {"who": who, "settings": {"precision": precision, "compile": compiled}}
    if done.returncode:
        return {**facts, "shape": shape, "failed": done.stderr.strip().splitlines()[-1:]}
    return {**facts, **speed(shape, json.loads(done.stdout.strip().splitlines()[-1])["seconds"])}


def speed(shape: str, seconds: list[float]) -> dict[str, Any]:
    """Operations are counted alike for everyone: of our model of the shape."""
    first, *rest = seconds
    rate = SHAPES[shape][3] / statistics.median(rest)
    flops = flops_per_token(config_of(shape), SHAPES[shape][2])
    return {
        "shape": shape, "first_step_seconds": round(first, 2), "step_seconds": [round(s, 4) for s in rest],
        "tokens_per_second": round(rate, 1), "gflops_per_second": round(rate * flops / 1e9, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--rounds", type=int, default=1, help="repeat everything so often, one after the other"
    )
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--overhead", action="store_true", help="also what the loop adds to bare steps")
    parser.add_argument("--optimizer", default="muon", help="of ours")
    parser.add_argument("--peers", help="a Python with transformers, accelerate, litgpt and lightning")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat")
    parser.add_argument("--out", type=Path, help="also keep the results in this file")
    options = parser.parse_args()
    precision, _ = resolve(options.precision, torch.device("cpu"))
    python = options.peers or sys.executable
    lines = []
    for shape, _ in itertools.product(options.shapes, range(options.rounds)):
        settings = {
            "precision": options.precision,
            "compile": not options.no_compile,
            "optimizer": options.optimizer,
        }
        runs: list[Callable[[], dict[str, Any]]] = [partial(ours, shape, options.steps, settings)]
        if options.overhead:
            runs.append(partial(overhead, shape, options.steps, settings))
        if options.nanogpt:
            runs.append(
                partial(peer, "nanogpt", shape, options.steps, python, options.nanogpt, "float32", False)
            )
            runs.append(
                partial(peer, "nanogpt", shape, options.steps, python, options.nanogpt, precision, True)
            )
        if options.peers:
            runs += [
                partial(peer, who, shape, options.steps, python, None, precision, True)
                for who in ("hf", "litgpt")
            ]
        if options.nanochat:
            runs.append(
                partial(peer, "nanochat", shape, options.steps, python, options.nanochat, precision, True)
            )
        for run in runs:
            torch.set_num_threads(hardware.facts().cores)
            matmul_peak.cache_clear()
            before = matmul_peak(precision, "cpu")
            result = {"bench": "training", "date": datetime.now(UTC).isoformat(timespec="seconds"), **run()}
            matmul_peak.cache_clear()
            peak = max(before, matmul_peak(precision, "cpu"))  # the limit, not the neighbour's load
            if "gflops_per_second" in result:
                result["mfu"] = round(result["gflops_per_second"] * 1e9 / peak, 3)
            result |= {"peak_gflops": round(peak / 1e9, 1), "machine": hardware.facts().processor}
            lines.append(json.dumps(result))
            print(lines[-1], flush=True)
            torch._dynamo.reset()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
