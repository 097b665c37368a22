"""DoReMi: how much of each domain should a model read? Weights from a small proxy, and what they do to a new model.

    python recipes/doremi.py --data books.txt code.txt --out out/doremi

Every file is a domain, and so are two of our own: `noise` (random letters: nothing to learn) and `counting` (learned at
once). References are trained, a proxy against them (train/doremi.py), then new models with another seed in equal shares
and with DoReMi's weights, for equally many steps. --reference shared is the paper's, one model of all domains; alone,
the default, is one per domain, so that the excess that is fought is the one that is measured. Shown is each domain's excess loss on held-out text: nats
per byte above a model that read this domain alone for as many steps; what counts is the worst domain. The smoothing is
0.05 here and not the paper's 0.001, which is for 200,000 steps: at a hundred a domain would be given up for good; and --skip leaves out the first steps.
Writes weights-SEED.json for the step `mix` (weights_file) to the folder `weights`, and a table.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.seed import generator
from ownlm.train import doremi
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

VOCAB, LONGEST = 256, 400_000
DEFAULTS = {"steps": 100, "rows": 16, "context": 64, "width": 64, "layers": 2}


def read(paths: list[Path] | None) -> dict[str, np.ndarray]:
    """Bytes of every domain, at most LONGEST."""
    random = generator(0, "domains")
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
    found = {
        "noise": random.choice(letters, 60_000),
        "counting": np.frombuffer(b"0123456789 " * 3000, np.uint8),
    }
    for path in paths or [Path(argparse.__file__), Path(json.__file__)]:
        found[path.stem] = np.frombuffer(path.read_bytes()[:LONGEST], np.uint8)
    return found


class Run:
    """Everything that the models of one seed share."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed, cut = args, seed, 0.9
        texts = read(args.data)
        self.domains = {
            n: ShardBatches(t[: int(cut * len(t))], args.context, args.rows, seed) for n, t in texts.items()
        }
        held = {n: t[int(cut * len(t)) :] for n, t in texts.items()}
        self.held = {
            n: ShardBatches(t, args.context, min(64, len(t) // args.context - 1), 0)(0)
            for n, t in held.items()
        }
        self.config = TrainConfig(
            args.steps, seed=seed, compile=False, precision="float32", checkpoint_seconds=1e9
        )

    def model(self, number: int) -> Decoder:
        w = self.args.width
        return Decoder(ModelConfig(VOCAB, w, 2 * w, self.args.layers, w // 16, w // 16, 16, self.args.context), 10 * self.seed + number)  # fmt: skip

    def trained(self, weights: dict[str, float], number: int) -> Decoder:
        model = self.model(number)
        batch_at = doremi.mixture(self.domains, weights, self.args.rows, 10 * self.seed + number)
        with tempfile.TemporaryDirectory() as folder:
            for _ in train(model, batch_at, self.config, Path(folder), notice=lambda text: None):
                pass
        return model

    def losses(self, model: Decoder) -> dict[str, float]:
        """Nats per byte on held-out text."""
        return {n: float(doremi.losses(model, b.inputs, b.targets).mean()) for n, b in self.held.items()}

    def only(self, name: str) -> dict[str, float]:
        return {other: float(other == name) for other in self.domains}


def run(args: argparse.Namespace, seed: int) -> list[dict]:
    here = Run(args, seed)
    uniform = {name: 1 / len(here.domains) for name in here.domains}
    alone = {name: here.trained(here.only(name), 2) for name in here.domains}
    floor = {name: here.losses(model)[name] for name, model in alone.items()}
    reference = alone if args.reference == "alone" else here.trained(uniform, 0)
    steps = list(doremi.proxy(here.model(1), reference, here.domains, here.config, eta=args.eta, smoothing=args.smoothing, notice=lambda text: None))  # fmt: skip
    (args.out / "weights").mkdir(parents=True, exist_ok=True)
    found = doremi.write(args.out / "weights" / f"weights-{seed}.json", steps, args.skip)
    rows = []
    for name, weights in (("equal", uniform), ("doremi", found)):
        losses = here.losses(here.trained(weights, 3))
        excess = {domain: round(losses[domain] - floor[domain], 4) for domain in floor}
        worst = max(excess, key=lambda domain: excess[domain])
        rows.append({"weights_by": name, "seed": seed, "worst_excess": excess[worst], "worst": worst,
                     "mean_excess": round(float(np.mean(list(excess.values()))), 4), "excess": excess,
                     "weights": {domain: round(weight, 4) for domain, weight in weights.items()}})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--eta", type=float, default=1.0)
    parser.add_argument("--reference", choices=["alone", "shared"], default="alone")
    parser.add_argument("--skip", type=float, default=0.3)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("out/doremi"))
    args = parser.parse_args()
    rows = [row for seed in args.seeds for row in run(args, seed)]
    for name in ("equal", "doremi"):
        worst = [row["worst_excess"] for row in rows if row["weights_by"] == name]
        print(f"{name:8s} worst domain's excess {np.mean(worst):.3f} nats per byte, seeds {worst}")
    (args.out / "doremi.json").write_text(
        json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1)
    )


if __name__ == "__main__":
    main()
