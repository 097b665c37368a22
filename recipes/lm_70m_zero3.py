"""A language model of 70 million parameters, bfloat16, ZeRO-3: tokens per second, and the memory of each process.

    python -m torch.distributed.run --standalone --nproc-per-node 1 recipes/lm_70m_zero3.py --full      one GPU
    python -m torch.distributed.run --standalone --nproc-per-node 2 recipes/lm_70m_zero3.py             a trial, on any CPU
    ... --full --tokens corpus.bin --vocab 32000 --steps 20000 --rows 64 --out runs/lm70m

Weights, gradients and AdamW's moments lie in shards, float32; the weights are gathered block by block in bfloat16. Without
--tokens (a file of uint16 ids) the text is Python's standard library as bytes, which is too little to learn from:
such a run measures. --full is 70 M parameters, everything else as it is; the default is a model of a second's work.
Interrupted, the same command goes on, also with another number of processes.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.parallel import launch
from ownlm.train.parallel.dist import joined
from ownlm.train.parallel.fully_sharded import FullySharded

# 32,000 x 512 of the embedding (tied) + 13 blocks of 4.2 M = 70.9 M
FULL = {"vocab": 32_000, "width": 512, "layers": 13, "context": 1024, "rows": 32, "steps": 200}
TINY = {"vocab": 256, "width": 64, "layers": 2, "context": 64, "rows": 4, "steps": 6}


def shape(args: argparse.Namespace) -> ModelConfig:
    heads = args.width // 64
    return ModelConfig(args.vocab, args.width, 4 * args.width // 64 * 64, args.layers, heads, heads, 64, args.context)  # fmt: skip


def tokens_of(path: Path | None) -> np.ndarray:
    if path is not None:
        return np.memmap(path, dtype=np.uint16, mode="r")
    text = b"".join(sorted(file.read_bytes() for file in Path(argparse.__file__).parent.glob("*.py")))
    return np.frombuffer(text, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="70 million parameters")
    parser.add_argument("--tokens", type=Path, help="a file of uint16 token ids")
    parser.add_argument("--out", type=Path, default=Path("out/lm_70m_zero3"))
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    for name in TINY:
        parser.add_argument(f"--{name}", type=int, help=f"{FULL[name]:,} with --full, else {TINY[name]:,}")
    args = parser.parse_args()
    for name, value in (FULL if args.full else TINY).items():
        setattr(args, name, getattr(args, name) or value)
    with joined() as place:
        model = Decoder(shape(args), seed=0).to(place.device)
        config = TrainConfig(args.steps, optimizer="adamw", learning_rate=1e-3, precision=args.precision, compile=False,
                             micro_tokens=args.rows * args.context, checkpoint_seconds=600)  # fmt: skip
        said = (lambda text: print(text, flush=True)) if place.rank == 0 else (lambda text: None)
        layout = launch.layout_from("zero3", model, config, said)
        batches = ShardBatches(tokens_of(args.tokens), args.context, args.rows, seed=0)
        said(
            f"{model.num_parameters() / 1e6:.2f} M parameters, {args.precision}, zero3 on {place.num_processes} x {place.device}"
        )
        speeds = []
        for record in train(model, batches, config, args.out, said, layout=layout):
            speeds.append(record.tokens_per_second)
            said(
                f"step {record.step:6d}  loss {record.loss:.4f}  {record.tokens_per_second:10,.0f} tokens/s  MFU {record.mfu:.3f}"
            )
        if speeds:
            held = layout.held_bytes() if isinstance(layout, FullySharded) else {}
            said(json.dumps({"parameters": model.num_parameters(), "processes": place.num_processes, "device": str(place.device),
                             "precision": args.precision, "shard_bytes": held.get("shards"),
                             "tokens_per_second": statistics.median(speeds[len(speeds) // 4 :])}))  # fmt: skip


if __name__ == "__main__":
    main()
