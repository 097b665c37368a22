"""Look inside a run: gradient norms by layer over time, dead units, dead and uniform heads, as text and as a picture.

    python recipes/gradient_view.py                                a tiny model on built-in text, about a minute
    python recipes/gradient_view.py --data corpus.txt --depth 8 --steps 2000 --every 20
    python recipes/gradient_view.py --plant                        with dead units and a dead head to be found

Bytes are tokens. The picture (gradients.png) needs matplotlib; without it there is the table alone.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from ownlm.errors import MissingDependency
from ownlm.model.decoder import Decoder
from ownlm.model.presets import from_dial
from ownlm.runtime.adapters.matplotlib import figure
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.health.gradients import FILE, report
from ownlm.train.health.neurons import examine
from ownlm.train.health.steplog import read
from ownlm.train.loop import train


def tokens(path: Path | None) -> np.ndarray:
    text = (path or Path(argparse.__file__)).read_bytes()
    return np.frombuffer(text, dtype=np.uint8).astype(np.uint16)


def plant(model: Decoder) -> None:
    """Five units of the first layer and one head of the last write nothing; weight decay and gradients leave them so."""
    with torch.no_grad():
        layer, mixer = model.blocks[0].feed_forward, model.blocks[-1].mixer
        layer.down.weight[:, :5] = 0
        mixer.o.weight[:, : mixer.head_dim] = 0
    layer.down.weight.register_hook(lambda g: g.index_fill(1, torch.arange(5), 0.0))
    mixer.o.weight.register_hook(lambda g: g.index_fill(1, torch.arange(mixer.head_dim), 0.0))


def draw(folder: Path, path: Path) -> None:
    """One line per layer, logarithmic."""
    rows = read(folder / FILE)
    with figure(path) as axes:
        for layer in rows[0]["norms"]:
            axes.plot([row["step"] for row in rows], [row["norms"][layer] for row in rows], label=layer)
        axes.set(xlabel="step", ylabel="gradient norm", yscale="log")
        axes.legend(fontsize="small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--plant", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/gradient_view"))
    args = parser.parse_args()
    shutil.rmtree(args.out / "run", ignore_errors=True)
    model = Decoder(from_dial(args.depth, 256, args.context), args.seed)
    if args.plant:
        plant(model)
    batches = ShardBatches(tokens(args.data), args.context, 8, args.seed)
    config = TrainConfig(num_steps=args.steps, optimizer=args.optimizer, learning_rate=1e-3 if args.optimizer == "adamw" else None,
                         gradient_steps=args.every, compile=False, seed=args.seed)  # fmt: skip
    for record in train(model, batches, config, args.out / "run"):
        if record.step % max(1, args.steps // 5) == 0:
            print(
                f"step {record.step}: loss {record.loss:.3f}, gradient norm {record.grad_norm:.2f}",
                flush=True,
            )
    print("\n" + report(args.out / "run") + "\n")
    print(examine(model, [batches(args.steps + number).inputs for number in range(4)]))
    try:
        draw(args.out / "run", args.out / "gradients.png")
        print(f"picture: {args.out / 'gradients.png'}")
    except MissingDependency as error:
        print(f"no picture: {error.what} {error.fix}")


if __name__ == "__main__":
    main()
