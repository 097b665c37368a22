"""Grokking: a model knows all examples of modular addition by heart long before it can add (Power et al. 2022,
arXiv:2201.02177).

    python recipes/grokking.py                                   p = 59, half of the pairs, about 2 minutes on one core
    python recipes/grokking.py --steps 60                        a look: it learns by heart, no more
    python recipes/grokking.py --full                            p = 97, 30 % of the pairs, 20,000 steps: the paper's form
    python recipes/grokking.py --weight-decay 0                  without decay it comes far later, or never

The model reads a, b, = and answers (a + b) mod p; training sees a fixed part of all p * p pairs, the rest is held out.
Writes curve.jsonl (step, loss and accuracy of both parts) and curve.svg to --out, and says when each part was known.
"""

import argparse
import itertools
import json
import time
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

KNOWN = 0.95  # accuracy from which a part counts as known


def pairs(p: int, share: float, seed: int) -> tuple[Batch, Batch]:
    """(training part, held-out part): inputs [n, 3] of a, b, "=" and the sum as the target of the last place."""
    every = torch.tensor(list(itertools.product(range(p), range(p))))  # [p*p,2]
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(derive(seed, "pairs")))
    inputs = torch.cat([every, torch.full((len(every), 1), p)], 1)[order]
    targets = torch.full_like(inputs, IGNORE)
    targets[:, 2] = inputs[:, :2].sum(1) % p
    cut = int(share * len(every))
    return Batch(inputs[:cut], targets[:cut]), Batch(inputs[cut:], targets[cut:])


@torch.no_grad()
def measure(model: Decoder, part: Batch) -> tuple[float, float]:
    """(loss in nats, accuracy) over the answers."""
    logits = model.logits(model.hidden(part.inputs)[:, -1])
    right = part.targets[:, -1]
    return float(torch.nn.functional.cross_entropy(logits, right)), float((logits.argmax(-1) == right).float().mean())  # fmt: skip


def run(args: argparse.Namespace) -> list[dict]:
    """One row per measurement."""
    shown, held = pairs(args.p, args.share, args.seed)
    config = ModelConfig(vocab_size=args.p + 1, hidden_size=args.width, intermediate_size=2 * args.width, num_layers=args.layers,
                         num_heads=args.width // 32, num_kv_heads=args.width // 32, head_dim=32, max_positions=4,
                         tie_embeddings=False)  # fmt: skip
    model = Decoder(config, args.seed)
    settings = TrainConfig(
        num_steps=args.steps, optimizer="adamw", learning_rate=args.rate, schedule="constant", warmup_steps=min(10, args.steps),
        optimizer_options={"betas": (0.9, 0.98)}, weight_decay=args.weight_decay, micro_tokens=3 * len(shown.inputs), compile=False,
        precision="float32", threads=args.threads, checkpoint_seconds=300, on_spike="ignore", clip=None,
        seed=args.seed,
    )  # fmt: skip
    rows, began = [], time.perf_counter()
    for record in train(model, lambda step: shown, settings, args.out):
        if record.step % args.every and record.step != args.steps:
            continue
        (loss, accuracy), (held_loss, held_accuracy) = measure(model, shown), measure(model, held)
        rows.append({"step": record.step, "seconds": round(time.perf_counter() - began, 1), "train_loss": loss,
                     "train_accuracy": accuracy, "heldout_loss": held_loss, "heldout_accuracy": held_accuracy})  # fmt: skip
        print(f"step {record.step:6}  by heart {accuracy:6.1%}  held out {held_accuracy:6.1%}  loss {loss:.2e} / {held_loss:.2e}", flush=True)  # fmt: skip
    return rows


def known_at(rows: list[dict], part: str) -> dict | None:
    """The first measurement at which this part was known."""
    return next((row for row in rows if row[f"{part}_accuracy"] >= KNOWN), None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="p = 97, 30 %% of the pairs, 20,000 steps")
    parser.add_argument("--p", type=int, default=59)
    parser.add_argument("--share", type=float, default=0.5, help="of the pairs, to train on")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/grokking"))
    args = parser.parse_args()
    if args.full:
        args.p, args.share, args.steps, args.width, args.layers, args.rate = 97, 0.3, 20_000, 128, 2, 1e-3
    args.out.mkdir(parents=True, exist_ok=True)
    rows = run(args)
    (args.out / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for part, words in (("train", "the shown pairs are known by heart"), ("heldout", "the others follow")):
        found = known_at(rows, part)
        print(f"{words}: " + (f"step {found['step']}, {found['seconds']} s" if found else "not within this run"))  # fmt: skip
    try:
        steps = [row["step"] for row in rows]
        plot.lines(args.out / "curve.svg", {name: (steps, [row[f"{part}_accuracy"] for row in rows])
                   for part, name in (("train", "shown"), ("heldout", "held out"))},
                   title=f"Grokking: addition modulo {args.p}", x="step", y="accuracy", log="x")  # fmt: skip
    except MissingDependency as missing:
        print(f"no picture: {missing.what} {missing.fix}")


if __name__ == "__main__":
    main()
