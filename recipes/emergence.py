"""The mirage of emergence: the same runs look abrupt by exact match and smooth by log-likelihood (Schaeffer et al. 2023,
arXiv:2304.15004).

    python recipes/emergence.py                         addition of 3-digit numbers, 6 lengths of training, about a minute
    python recipes/emergence.py --digits 2 --widths 16 32 --steps 40 80      a look
    python recipes/emergence.py --full                  wider and longer: 7 widths up to 256, about an hour on one core

One decoder per width and number of steps learns a+b=c, digits of c backwards. Each is then measured on unseen sums in
two ways: exact match of the whole answer, and the mean log-likelihood of an answer's digit. If a digit is right with
probability q, an answer of n digits is right with about q^n: flat, then abrupt, though q rises smoothly. The table
shows both, and q^n beside the exact match. Writes results.jsonl and emergence.svg to --out.
"""

import argparse
import itertools
import json
import math
from pathlib import Path

import torch

from ownlm.errors import MissingDependency
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.adapters import matplotlib as plot
from ownlm.runtime.seed import derive
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.objectives.cross_entropy import IGNORE

PLUS, EQUALS = 10, 11


def places(number: torch.Tensor, n: int) -> torch.Tensor:
    """number [B] -> its last n decimal places, the lowest first: [B, n]."""
    return torch.stack([number // 10**i % 10 for i in range(n)], 1)


def sums(digits: int, rows: int, seed: int, heldout: bool) -> Batch:
    """inputs [rows, 3 digits + 2]: a + b = c without its last digit, c backwards with digits + 1 places; targets only
    on c. A tenth of the pairs, chosen by a multiplicative hash, is held out: the two parts never share a pair."""
    random = torch.Generator().manual_seed(seed)
    pairs = torch.empty(0, 2, dtype=torch.int64)
    while len(pairs) < rows:
        drawn = torch.randint(0, 10**digits, (4 * rows, 2), generator=random)
        keep = (drawn[:, 0] * 10**digits + drawn[:, 1]) * 2654435761 % 2**32 // 2**16 % 10 == 0
        pairs = torch.cat([pairs, drawn[keep if heldout else ~keep]])
    a, b = pairs[:rows].unbind(1)
    plus, equals = torch.full((rows, 1), PLUS), torch.full((rows, 1), EQUALS)
    text = torch.cat([places(a, digits), plus, places(b, digits), equals, places(a + b, digits + 1)], 1)
    targets = text[:, 1:].clone()
    targets[:, : 2 * digits + 1] = IGNORE
    return Batch(text[:, :-1].contiguous(), targets)


@torch.no_grad()
def measure(model: Decoder, held: Batch, digits: int) -> dict:
    """Both metrics. Every answer is read with the right digits before it, which makes exact match the same as greedy
    generation: a wrong digit fails the answer either way."""
    logits = model(held.inputs)[:, -(digits + 1) :]  # [B, digits + 1, V]
    right = held.targets[:, -(digits + 1) :]
    log_likelihood = logits.log_softmax(-1).gather(2, right[..., None])
    correct = logits.argmax(-1) == right
    per_digit = float(correct.float().mean())
    return {"exact_match": float(correct.all(1).float().mean()), "digit_accuracy": per_digit,
            "log_likelihood": float(log_likelihood.mean()), "power": per_digit ** (digits + 1)}  # fmt: skip


def run(width: int, steps: int, args: argparse.Namespace) -> dict:
    config = ModelConfig(vocab_size=12, hidden_size=width, intermediate_size=3 * width, num_layers=2, num_heads=width // 16,
                         num_kv_heads=width // 16, head_dim=16, max_positions=3 * args.digits + 3)  # fmt: skip
    model = Decoder(config, args.seed)
    settings = TrainConfig(num_steps=steps, optimizer="adamw", learning_rate=args.rate, weight_decay=0.01, compile=False,
                           precision="float32", threads=args.threads, checkpoint_seconds=1e9, warmup_fraction=0.1, seed=args.seed)  # fmt: skip
    folder = args.out / f"{width}-{steps}"
    for _ in train(model, lambda step: sums(args.digits, args.rows, derive(args.seed, "sums", step), False),
                   settings, folder, notice=lambda told: None):  # fmt: skip
        pass
    held = sums(args.digits, 1000, derive(args.seed, "heldout"), True)
    return {"width": width, "steps": steps, "parameters": model.num_parameters(), "flops": 6.0 * model.num_parameters() * steps * args.rows * (3 * args.digits + 2),
            **measure(model, held, args.digits)}  # fmt: skip


def abruptness(values: list[float]) -> float:
    """Largest rise between neighbours over the whole range: 1 / (n - 1) for a straight line, 1 for a jump."""
    whole = max(values) - min(values)
    return max(b - a for a, b in itertools.pairwise(values)) / whole if whole > 0 else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--digits", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[48])
    parser.add_argument("--steps", type=int, nargs="+", default=[75, 150, 300, 450, 600, 900])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/emergence"))
    args = parser.parse_args()
    if args.full:
        args.widths, args.steps, args.digits = [16, 32, 48, 64, 96, 128, 256], [4000], 4
    rows = []
    print("width  steps  parameters  exact match     q^n  digit accuracy  log-likelihood")
    for width, steps in sorted((w, s) for w in args.widths for s in args.steps):
        rows.append(row := run(width, steps, args))
        print(f"{width:5} {steps:6} {row['parameters']:11,} {row['exact_match']:12.1%} {row['power']:7.1%} {row['digit_accuracy']:15.1%} {row['log_likelihood']:15.3f}", flush=True)  # fmt: skip
    rows.sort(key=lambda row: row["flops"])
    (args.out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if len(rows) > 2:
        for name in ("exact_match", "log_likelihood"):
            print(f"{name}: the largest single rise is {abruptness([row[name] for row in rows]):.0%} of the whole")  # fmt: skip
    try:
        compute = [row["flops"] for row in rows]
        plot.lines(args.out / "emergence.svg", {"exact match": (compute, [row["exact_match"] for row in rows]),
                   "likelihood of a digit, e^mean": (compute, [math.exp(row["log_likelihood"]) for row in rows])},
                   title="The same runs by two metrics", x="operations of training", y="", log="x")  # fmt: skip
    except MissingDependency as missing:
        print(f"no picture: {missing.what} {missing.fix}")


if __name__ == "__main__":
    main()
