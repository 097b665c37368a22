"""Which training texts does an answer owe its words to? Every method of ownlm.interp on one tiny language model.

    python recipes/attribution.py --data corpus.txt --out out/attribution

Trains a byte-level decoder on --texts short texts. A fact that stands nowhere else is planted in two of them, similar
sentences with other names and numbers in ten more. Then every method ranks the texts by what they do to the loss of the
fact's number. Right is: ranks 1 and 2. The rank correlation (LDS) says how well the scores foretell the losses of
models that were really retrained on random halves, over the planted fact and five other sentences.

gradients     g_q' g_n at the end of training          tracin    the same, summed over checkpoints
influence     with the inverse Gauss-Newton curvature  ekfac     the same, curvature factored by layer
trak          projected gradients of several models
datamodels    lasso on the retrained models themselves (other ones than the score's)
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ownlm.interp import datamodels, ekfac, influence
from ownlm.interp.gradients import Examples, Trained, of_module
from ownlm.interp.retrain import query_losses, retrain
from ownlm.interp.trak import trak
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.seed import generator

BOS, VOCAB, RATE, IGNORE = 256, 257, 0.01, -100
DEFAULTS = {"texts": 120, "context": 48, "width": 32, "steps": 60, "models": 6, "subsets": 60}
PLANTED, OTHERS = 2, 10


def sentence(name: str, number: int) -> str:
    return f"The key of {name} is {number}. "


def texts(path: Path | None, args: argparse.Namespace, seed: int) -> tuple[list[str], list[int], list[str]]:
    """(texts, numbers of the planted ones, sentences to ask for: the planted one first)."""
    random = generator(seed, "attribution")
    whole = path.read_text(encoding="utf-8") if path else Path(argparse.__file__).read_text(encoding="utf-8")
    starts = random.integers(0, max(1, len(whole) - args.context), args.texts)
    found = [whole[start : start + args.context] for start in starts]
    names = ["".join(random.choice(list("abdeiklmnorstuvz"), 6)) for _ in range(OTHERS + 1)]
    lines = [sentence(name, int(random.integers(1000, 10000))) for name in names]
    places = random.choice(args.texts, PLANTED + OTHERS, replace=False).tolist()
    for place, line in zip(places, lines[:1] * PLANTED + lines[1:], strict=True):
        found[place] = line + found[place]
    return found, places[:PLANTED], lines


def examples(found: list[str], context: int, only: str = "") -> Examples:
    """[N, context]; with `only`, the loss is on these characters alone (digits: the fact itself)."""
    inputs = torch.zeros(len(found), context, dtype=torch.int64)
    targets = torch.full((len(found), context), IGNORE)
    for row, text in enumerate(found):
        ids = [BOS, *text.encode()][: context + 1]
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        wanted = [i if not only or chr(i) in only else IGNORE for i in ids[1:]]
        targets[row, : len(ids) - 1] = torch.tensor(wanted)
    return Examples(inputs, targets)


def decoder(args: argparse.Namespace, trained: Trained) -> Decoder:
    w = args.width
    model = Decoder(ModelConfig(VOCAB, w, 2 * w, 1, w // 16, w // 16, 16, args.context))
    model.load_state_dict(dict(trained.weights))
    return model


def start(args: argparse.Namespace, seed: int) -> Trained:
    w = args.width
    return of_module(Decoder(ModelConfig(VOCAB, w, 2 * w, 1, w // 16, w // 16, 16, args.context), seed))


def run(args: argparse.Namespace, seed: int) -> list[dict]:
    found, planted, lines = texts(args.data, args, seed)
    train = examples(found, args.context)
    query = examples(lines[:6], args.context, "0123456789")
    starts = [start(args, 100 * seed + n) for n in range(args.models)]
    kept: list[Trained] = []

    def checkpoint(step: int, models: list[Trained]) -> None:
        if (step + 1) % max(1, args.steps // 4) == 0:
            kept.append(models[0])

    begun = time.perf_counter()
    halves = torch.from_numpy(datamodels.subsets(args.texts, args.models, 0.5, seed))
    logits = starts[0].logits
    (model,) = retrain(
        [starts[0].weights], logits, train, torch.ones(1, args.texts), args.steps, RATE, after=checkpoint
    )
    print(f"seed {seed}: trained in {time.perf_counter() - begun:.1f} s", flush=True)
    ensemble = retrain([one.weights for one in starts], logits, train, halves, args.steps, RATE)
    masks, losses = np.zeros((0, args.texts), bool), np.zeros((0, len(query)))
    if args.subsets:
        masks = datamodels.subsets(args.texts, args.subsets, 0.5, seed + 1000)
        groups = [retrain([starts[0].weights], logits, train, torch.from_numpy(masks[n : n + 10]), args.steps, RATE)
                  for n in range(0, len(masks), 10)]  # fmt: skip
        losses = query_losses([one for group in groups for one in group], query).numpy()
    half = len(masks) // 2
    methods: dict[str, Callable[[], torch.Tensor | np.ndarray]] = {
        "gradients": lambda: influence.tracin([model], [1.0], train, query),
        "tracin": lambda: influence.tracin(kept, [1.0] * len(kept), train, query),
        "influence": lambda: influence.conjugate_gradients(model, train, query, damping=0.1, steps=10),
        "ekfac": lambda: ekfac.influence(ekfac.fit(decoder(args, model), train), train, query),
        "trak": lambda: trak(ensemble, train, query, width=min(256, args.texts)),
    }
    if half >= 10:
        methods["datamodels"] = lambda: datamodels.fit(masks[:half], losses[:half])
    rows = []
    for name, method in methods.items():
        begun = time.perf_counter()
        scores = np.asarray(method())
        order = scores[0].argsort()[::-1].tolist()
        lds = datamodels.datamodeling_score(scores, masks[half:], losses[half:]) if half else None
        rows.append({"method": name, "seed": seed, "ranks": sorted(order.index(n) + 1 for n in planted),
                     "lds": None if lds is None else round(lds, 3),
                     "seconds": round(time.perf_counter() - begun, 2), "first": found[order[0]][:60]})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/attribution"))
    args = parser.parse_args()
    rows = [row for seed in args.seeds for row in run(args, seed)]
    args.out.mkdir(parents=True, exist_ok=True)
    found = json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1)
    (args.out / "attribution.json").write_text(found)


if __name__ == "__main__":
    main()
