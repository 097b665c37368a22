"""How far a rate can be raised: Adam, LAMB and Lion over a sweep of rates on a tiny language model.

    python recipes/optimizer_stability.py
    python recipes/optimizer_stability.py --steps 500 --width 128 --layers 4 --rates 12 --data corpus.txt

Each optimizer trains the same byte-level model at rates two-fold or more apart, without clipping, constant after a short
warm-up. Told of each run: the mean loss of its last quarter, the variance of the loss there, and whether it diverged: a
loss that is not finite, or ends above the entropy of the bytes' frequencies plus a tenth (no better than not reading).
The boundary is the lowest rate that diverged above the best one; None: the sweep did not reach it.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.adapters import matplotlib as plot
from ownlm.train.optimizers.table import build

SWEEP = {"adam": (1e-4, 1.0), "lamb": (1e-3, 10.0), "lion": (1e-5, 0.1)}  # lowest and highest rate


def run(name: str, rate: float, text: torch.Tensor, args: argparse.Namespace) -> list[float]:
    """The losses in nats per byte; ends at the first that is not finite."""
    model = Decoder(
        ModelConfig(
            vocab_size=256, hidden_size=args.width, intermediate_size=2 * args.width, num_layers=args.layers,
            num_heads=args.width // 16, num_kv_heads=args.width // 16, head_dim=16, max_positions=args.context,
        ),
        seed=args.seed,
    )  # fmt: skip
    optimizer = build(name, list(model.named_parameters()), {"weight_decay": 0.0}, torch.float32)
    random, losses = torch.Generator().manual_seed(args.seed), []
    for step in range(args.steps):
        starts = torch.randint(0, len(text) - args.context - 1, (args.rows,), generator=random).tolist()
        ids = torch.stack([text[s : s + args.context + 1] for s in starts])
        loss = F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        model.zero_grad()
        loss.backward()
        optimizer.step(rate * min(1.0, (step + 1) / max(1, args.steps // 20)))
    return losses


def judge(losses: list[float], steps: int, ceiling: float) -> dict[str, float | bool]:
    """loss and variance of the last quarter, and whether the run diverged."""
    last = torch.tensor(losses[-max(2, steps // 4) :], dtype=torch.float64)
    finite = len(losses) == steps and bool(last.isfinite().all())
    loss = float(last.mean()) if finite else math.inf
    variance = float(last.var()) if finite else math.inf
    return {"loss": loss, "variance": variance, "diverged": not finite or loss > ceiling}


def boundary(rows: list[dict]) -> float | None:
    """The lowest rate that diverged above the best rate."""
    best = min(rows, key=lambda row: row["loss"])["rate"]
    return min((row["rate"] for row in rows if row["diverged"] and row["rate"] > best), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in {"steps": 80, "width": 32, "layers": 2, "rows": 8, "context": 64, "rates": 8, "seed": 0}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--names", nargs="+", choices=SWEEP, default=list(SWEEP))
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/optimizer_stability"))
    args = parser.parse_args()
    raw = args.data.read_bytes() if args.data else "\n".join(d.text for d in standard_library()).encode()
    text = torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()
    share = torch.bincount(text, minlength=256).double() / len(text)
    ceiling = float(torch.special.entr(share).sum()) + 0.1
    found: dict[str, dict] = {}
    for name in args.names:
        low, high = SWEEP[name]
        rates = [low * (high / low) ** (n / max(1, args.rates - 1)) for n in range(args.rates)]
        rows = [{"rate": r} | judge(run(name, r, text, args), args.steps, ceiling) for r in rates]
        best = min(rows, key=lambda row: row["loss"])
        edge = boundary(rows)
        found[name] = {"rows": rows, "best_rate": best["rate"], "best_loss": best["loss"], "diverges_at": edge,
                       "room": edge and edge / best["rate"], "variance_at_best": best["variance"]}  # fmt: skip
        print(f"{name:<6} best rate {best['rate']:.2g} (loss {best['loss']:.3f}, variance {best['variance']:.2g}), diverges at {edge and f'{edge:.2g}'}", flush=True)  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    kept = {"settings": vars(args), "diverged_above": ceiling, "optimizers": found}
    text_of = json.dumps(kept, default=str, indent=1).replace("Infinity", "null")  # JSON has no infinity
    (args.out / "optimizer_stability.json").write_text(text_of)
    for what in ("loss", "variance"):
        series = {
            name: tuple(zip(*[(row["rate"], row[what]) for row in one["rows"] if math.isfinite(row[what])]))
            for name, one in found.items()
        }
        plot.lines(args.out / f"{what}.png", {n: s for n, s in series.items() if s}, title=f"{what} over the rate",
                   x="peak rate", y=what, log="x" if what == "loss" else "xy")  # fmt: skip


if __name__ == "__main__":
    main()
