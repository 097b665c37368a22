"""Which part of the data can go? A tiny model trained on what several scores keep, at less compute, with seeds.

    python recipes/prune_data.py --data corpus.txt --out out/prune_data

A corpus of short texts, of which --noise percent are planted noise (characters of the text, drawn blindly). A model
trained for a third of the steps on everything scores the texts; each row then trains a new model on the kept part, for
as many steps with proportionally fewer rows each: as many epochs at less compute. (Fewer steps instead of smaller
batches cost more than noise does when runs are as short as these.) What counts is bits per byte on clean unseen texts.

whole      everything                         random     as many texts as the others keep, chosen blindly: the control
loss       the lowest losses                  middle     neither the lowest nor the highest (Marion et al. 2023)
el2n       the smallest errors                influence  the texts whose gradient lowers the loss of validation texts
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from ownlm.interp import pruning
from ownlm.interp.gradients import Examples, losses, of_module
from ownlm.interp.influence import tracin
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

BOS, VOCAB = 256, 257
DEFAULTS = {"texts": 1200, "context": 64, "width": 64, "steps": 150, "rows": 16, "noise": 30, "keep": 70}
WAYS = ("whole", "random", "loss", "middle", "el2n", "influence")


def examples(texts: list[bytes]) -> Examples:
    """[N, context]: texts of equal length, each behind a BOS."""
    ids = torch.tensor([[BOS, *text] for text in texts])
    return Examples(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())


def corpus(args: argparse.Namespace, seed: int) -> tuple[Examples, Examples, Examples, np.ndarray]:
    """(train, validation, test, which of train is noise); validation and test are clean and in other places."""
    random = generator(seed, "prune")
    path = args.data or Path(argparse.__file__)
    whole, size = path.read_bytes(), args.context
    pieces = [whole[n : n + size] for n in range(0, len(whole) - size, size)]
    pieces = [pieces[n] for n in random.permutation(len(pieces))]
    held = max(4, min(200, len(pieces) // 5))
    used = pieces[2 * held :][: args.texts]
    noisy = random.random(len(used)) < args.noise / 100
    letters = sorted(set(whole))
    used = [
        bytes(random.choice(letters, size).tolist()) if bad else t for t, bad in zip(used, noisy, strict=True)
    ]
    return examples(used), examples(pieces[:held]), examples(pieces[held : 2 * held]), noisy


def trained(data: Examples, steps: int, rows: int, args: argparse.Namespace, seed: int) -> Decoder:
    """Whole epochs in random order, cut after `steps`."""
    w = args.width
    model = Decoder(ModelConfig(VOCAB, w, 2 * w, 2, w // 16, w // 16, 16, args.context), seed)

    def batch_at(step: int) -> Batch:
        places = [divmod(step * rows + row, len(data)) for row in range(rows)]
        chosen = torch.tensor([int(generator(seed, "order", e).permutation(len(data))[n]) for e, n in places])
        return Batch(data.inputs[chosen], data.targets[chosen])

    config = TrainConfig(steps, seed=seed, compile=False, precision="float32", checkpoint_seconds=1e9)
    with tempfile.TemporaryDirectory() as folder:
        for _ in train(model, batch_at, config, Path(folder), notice=lambda text: None):
            pass
    return model


def bits(model: Decoder, data: Examples) -> float:
    """Bits per byte; a token is a byte."""
    return float(losses(of_module(model), data).sum()) / data.targets.numel() / math.log(2)


def kept(way: str, args: argparse.Namespace, train_set: Examples, valid: Examples, early: Decoder, seed: int) -> torch.Tensor:  # fmt: skip
    """[N] bool."""
    share, model = args.keep / 100, of_module(early)
    if way == "whole":
        return torch.ones(len(train_set), dtype=torch.bool)
    if way == "random":
        return pruning.keep(torch.from_numpy(generator(seed, "blind").random(len(train_set))), share)
    if way in ("loss", "middle"):
        part = "lowest" if way == "loss" else "middle"
        return pruning.keep(pruning.loss_per_token(model, train_set), share, part)  # type: ignore[arg-type]
    if way == "el2n":
        return pruning.keep(pruning.el2n([model], train_set), share, "lowest")
    return pruning.keep(tracin([model], [1.0], train_set, valid).mean(0), share, "highest")


def run(args: argparse.Namespace, seed: int) -> list[dict]:
    train_set, valid, test, noisy = corpus(args, seed)
    early, rows = trained(train_set, max(1, args.steps // 3), args.rows, args, seed + 500), []
    for way in args.ways:
        mask = kept(way, args, train_set, valid, early, seed)
        batch = max(1, round(args.rows * float(mask.float().mean())))
        model = trained(train_set.chosen(mask), args.steps, batch, args, seed)
        rows.append({"way": way, "seed": seed, "bits_per_byte": round(bits(model, test), 4), "texts": int(mask.sum()),
                     "tokens": args.steps * batch * args.context, "noise_kept": int(noisy[mask.numpy()].sum()),
                     "noise": int(noisy.sum())})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/prune_data"))
    args = parser.parse_args()
    rows = [row for seed in args.seeds for row in run(args, seed)]
    for way in args.ways:
        mine = [row for row in rows if row["way"] == way]
        found = [row["bits_per_byte"] for row in mine]
        print(f"{way:10s} {np.mean(found):.3f} bits per byte {found}, {mine[0]['tokens']:,} tokens")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "prune_data.json").write_text(
        json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1)
    )


if __name__ == "__main__":
    main()
