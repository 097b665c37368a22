"""Which optimizer gets there first: a quadratic bowl, and a tiny image classification, every one at its best rate.

    python recipes/optimizers_on_a_bowl.py
    python recipes/optimizers_on_a_bowl.py --steps 600 --names sgd adam lion muon --data images.npz

Bowl: 0.5 x' H x in 64 dimensions (an 8 x 8 matrix), eigenvalues 0.01 to 1, random axes, gradient noise; target: 1 % of the
first loss. Images ("CIFAR-tiny"): 8 x 8 pixels, 3 colors, 10 classes, made here from a seed and not taken from CIFAR: each
class is a pattern of color waves, each image a shifted, noisy, dimmed copy; target: 80 % right on images held out. --data
takes a .npz with `images` [N, 8, 8, 3] in 0..1 and `labels` [N] instead. Of each optimizer the best of a few rates around
its default is kept. Writes bowl.png, images.png and optimizers_on_a_bowl.json.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ownlm.runtime.adapters import matplotlib as plot
from ownlm.train.optimizers.table import OPTIMIZERS, build

RATES = {"sgd": 0.1, "lars": 30.0, "adagrad": 0.1, "adafactor": 0.1, "lamb": 0.02, "lion": 3e-3, "sophia": 1e-2,
         "muon": 0.05}  # fmt: skip
"""Where the search begins for problems as small as these; 0.01 for the others."""
OPTIONS = {"sophia": {"num_tokens": 64}}
AROUND = (0.1, 0.3, 1.0, 3.0)
Curve = list[tuple[int, float]]


def bowl(name: str, rate: float, steps: int, seed: int) -> tuple[Curve, int | None]:
    """(step, loss) and the step from which on the loss stays at 1 % of the first for 10 steps."""
    random = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(64, 64, generator=random)).Q
    hessian = axes * torch.logspace(-2, 0, 64) @ axes.T
    weight = nn.Parameter(torch.randn(8, 8, generator=random))
    optimizer = build(name, [("w", weight)], {"weight_decay": 0.0, **OPTIONS.get(name, {})}, torch.float32)
    losses = []
    for step in range(steps):
        x = weight.detach().flatten()
        losses.append(float(0.5 * x @ hessian @ x))
        weight.grad = (hessian @ x + 0.01 * torch.randn(64, generator=random)).view(8, 8)
        optimizer.step(rate * (1 - step / steps))
    good = [loss <= 0.01 * losses[0] for loss in losses]
    return list(enumerate(losses)), next((s for s in range(steps) if good[s] and all(good[s : s + 10])), None)


def cifar_tiny(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [number, 192] around 0, labels [number]."""
    patterns = torch.Generator().manual_seed(0)  # the classes are always the same
    waves, phases = torch.randint(1, 4, (10, 3, 2), generator=patterns), torch.rand(10, 3, generator=patterns)
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (number,), generator=random)
    grid, shift = torch.arange(8) / 8, torch.rand(number, 1, 1, 1, generator=random) * 0.6
    w = waves[labels].float()[:, :, :, None, None]
    angle = w[:, :, 0] * grid[:, None] + w[:, :, 1] * grid + phases[labels][:, :, None, None] + shift
    images = torch.sin(2 * math.pi * angle) * (0.5 + torch.rand(number, 1, 1, 1, generator=random))
    return (images + 1.5 * torch.randn(images.shape, generator=random)).flatten(1), labels


def images(name: str, rate: float, steps: int, seed: int, data: Path | None) -> tuple[Curve, int | None]:
    """(step, share wrong on held-out images), and the first step at which 80 % are right."""
    if data:
        read = np.load(data, allow_pickle=False)
        x, y = torch.tensor(read["images"]).float().flatten(1) * 2 - 1, torch.tensor(read["labels"]).long()
    else:
        x, y = cifar_tiny(2560, seed=1)
    cut = len(x) - len(x) // 5
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer_of = [(n, w) for n, w in model.named_parameters() if w.ndim > 1 or name != "muon"]
    rest = [(n, w) for n, w in model.named_parameters() if w.ndim == 1 and name == "muon"]
    options = {"weight_decay": 0.0, **OPTIONS.get(name, {})}
    both = [(build(name, optimizer_of, options, torch.float32), rate)]
    both += [(build("adamw", rest, {"weight_decay": 0.0}, torch.float32), 0.01)] if rest else []
    random, curve = torch.Generator().manual_seed(seed), []
    for step in range(steps + 1):
        if step % 5 == 0:
            with torch.no_grad():
                curve.append((step, float((model(x[cut:]).argmax(1) != y[cut:]).float().mean())))
        rows = torch.randint(0, cut, (64,), generator=random)
        model.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        for optimizer, its_rate in both:
            optimizer.step(its_rate * (1 - step / (steps + 1)))
    return curve, next((step for step, wrong in curve if wrong <= 0.2), None)


def best(run: Callable[[float], tuple[Curve, int | None]], start: float) -> dict[str, object]:
    """The rate that reaches the target first; of none that does, the one that ends lowest."""
    tried = [(start * factor, *run(start * factor)) for factor in AROUND]
    rate, curve, target = min(tried, key=lambda t: (t[2] if t[2] is not None else math.inf, _end(t[1])))
    return {"rate": rate, "steps_to_target": target, "end": _end(curve), "curve": curve}


def _end(curve: Curve) -> float:
    return curve[-1][1] if math.isfinite(curve[-1][1]) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--data", type=Path, help="images of your own, see above")
    parser.add_argument("--out", type=Path, default=Path("out/optimizers_on_a_bowl"))
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, object]]] = {"bowl": {}, "images": {}}
    for name in args.names:
        start = RATES.get(name, 0.01)
        found["bowl"][name] = best(lambda r, n=name: bowl(n, r, args.steps, args.seed), start)
        found["images"][name] = best(lambda r, n=name: images(n, r, args.steps, args.seed, args.data), start)
        print(f"{name:<10}" + "".join(f"  {what}: rate {row[name]['rate']:.4g}, target after {row[name]['steps_to_target']} steps, end {row[name]['end']:.4g}" for what, row in found.items()), flush=True)  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {"settings": vars(args), **found}
    (args.out / "optimizers_on_a_bowl.json").write_text(json.dumps(settings, default=str, indent=1))
    for what, y in (("bowl", "loss"), ("images", "share wrong, held out")):
        series = {n: tuple(zip(*row["curve"])) for n, row in found[what].items()}
        plot.lines(
            args.out / f"{what}.png", series, title=what, x="step", y=y, log="y" if what == "bowl" else ""
        )


if __name__ == "__main__":
    main()
