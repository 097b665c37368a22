"""muP: the best learning rate stays put over the widths; under the standard parametrisation it moves (Yang et al. 2022,
arXiv:2203.03466, figure 1).

    python recipes/mup_transfer.py                                  widths 32, 64, 128, seven rates: minutes on one core
    python recipes/mup_transfer.py --widths 32 64 --steps 10 --rates 2e-3 8e-3      a look
    python recipes/mup_transfer.py --full --data book.txt           widths 64 to 1024, 9 rates, 2,000 steps

The text is Python's documentation, or --data FILE, as bytes. Same seed, batches and schedule everywhere; Adam without
decay. Prints the loss of the last steps per width and rate, and the best rate per width under both.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from ownlm.data.stdlib import standard_library
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.ladder import mup
from ownlm.train.loop import train

HEAD = 16


def text_of(path: Path | None) -> np.ndarray:
    if path is not None:
        return np.fromfile(path, dtype=np.uint8)
    found = b""
    for document in standard_library():
        found += document.text.encode()
        if len(found) > 2_000_000:
            break
    return np.frombuffer(found, dtype=np.uint8)


def final_loss(width: int, rate: float, base: int | None, text: np.ndarray, args: argparse.Namespace) -> float:  # fmt: skip
    """Mean over the last tenth of the steps; NaN where the run diverged."""
    config = ModelConfig(vocab_size=256, hidden_size=width, intermediate_size=3 * width, num_layers=args.layers, num_heads=width // HEAD,
                         num_kv_heads=width // HEAD, head_dim=HEAD, max_positions=args.context, tie_embeddings=False,
                         initializer_range=args.base**-0.5)  # fmt: skip
    model = Decoder(config, args.seed)
    if base is not None:
        mup.initialize(model, base)
    else:  # standard: 1/sqrt(fan-in) for every matrix, one rate
        mup.initialize_standard(model, args.base)
    settings = TrainConfig(num_steps=args.steps, optimizer="adam", learning_rate=rate, base_width=base, schedule="linear", compile=False,
                           precision="float32", threads=args.threads, checkpoint_seconds=1e9, on_spike="ignore", weight_decay=0.0,
                           warmup_fraction=0.1, micro_tokens=args.rows * args.context, seed=args.seed)  # fmt: skip
    name = f"{'mup' if base else 'standard'}-{width}-{rate:g}"
    losses = [record.loss for record in train(model, ShardBatches(text, args.context, args.rows, args.seed), settings,
                                              args.out / name, notice=lambda told: None)]  # fmt: skip
    return float(np.mean(losses[-max(1, args.steps // 10) :]))


def best_rate(row: dict[float, float]) -> float:
    return min((loss, rate) for rate, loss in row.items() if math.isfinite(loss))[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--rates", type=float, nargs="+", default=[2.0**-k for k in range(10, 3, -1)])
    parser.add_argument("--base", type=int, default=32, help="the width at which both are the same")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/mup"))
    args = parser.parse_args()
    if args.full:
        args.widths, args.base, args.steps = [64, 128, 256, 512, 1024], 64, 2000
        args.rates = [2.0**-k for k in range(13, 4, -1)]
    text = text_of(args.data)
    rows = []
    for kind, base in (("standard", None), ("muP", args.base)):
        print(f"{kind}: loss by rate " + " ".join(f"{rate:9.5f}" for rate in args.rates))
        for width in args.widths:
            row = {rate: final_loss(width, rate, base, text, args) for rate in args.rates}
            rows.append({"kind": kind, "width": width, "losses": row, "best_rate": best_rate(row)})
            print(f"  width {width:5}:      " + " ".join(f"{loss:9.4f}" for loss in row.values()) + f"   best at {best_rate(row):g}", flush=True)  # fmt: skip
        first, last = [row["best_rate"] for row in rows if row["kind"] == kind][:: len(args.widths) - 1 or 1][
            :2
        ]
        print(f"{kind}: from width {args.widths[0]} to {args.widths[-1]} the best rate moved by a factor {last / first:g}")  # fmt: skip
    (args.out / "results.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
