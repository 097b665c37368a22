"""Train short, test long: what each position scheme does beyond the length it was trained on.

    python recipes/longer_than_trained.py                         trains at 64 tokens, tests to 512, about a minute
    python recipes/longer_than_trained.py --context 512 --steps 5000 --width 256 --layers 8 --data corpus.txt

RoPE without scaling and with every scaling (nothing is trained again), beside ALiBi, sinusoidal, no positions at
all, and layers without positions interleaved (iRoPE). Bits per byte of the last quarter of each tested length.
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model.absolute import Sinusoidal
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Alibi, Biased
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.position import NTK, DynamicNTK, Linear, LongRope, Rope, Yarn
from ownlm.runtime.adapters import matplotlib as plot

HEAD = 16

DEFAULTS = {"steps": 400, "width": 64, "layers": 4, "rows": 32, "context": 64, "seed": 0, "factor": 8}


def shape(mixers: list, args: argparse.Namespace, **options: object) -> Architecture:
    layers = tuple(Layer(mixer, FeedForward(8 * args.width // 3)) for mixer in mixers)
    return Architecture(256, args.width, layers, args.context * args.factor, **options)  # type: ignore[arg-type]


def models(args: argparse.Namespace) -> dict[str, Architecture]:
    """What is trained."""
    heads = args.width // HEAD
    rope, none = GroupedQuery(heads, heads, HEAD, Rope()), GroupedQuery(heads, heads, HEAD)
    alibi = Biased(heads, heads, HEAD, bias=Alibi())
    return {"rope": shape([rope] * args.layers, args), "alibi": shape([alibi] * args.layers, args),
            "none": shape([none] * args.layers, args),
            "sinusoidal": shape([none] * args.layers, args, positions=Sinusoidal(args.context * args.factor)),
            "irope": shape([none if n % 4 == 3 else rope for n in range(args.layers)], args)}  # fmt: skip


def scaled(trained: Architecture, scaling: object) -> Architecture:
    """The same weights under another rotation."""
    layers = tuple(
        dataclasses.replace(layer, mixer=dataclasses.replace(layer.mixer, rope=Rope(scaling=scaling)))
        for layer in trained.layers
    )
    return dataclasses.replace(trained, layers=layers)


def train(model: Decoder, text: torch.Tensor, args: argparse.Namespace) -> None:
    random = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95))
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, step / 30) * (0.525 + 0.475 * math.cos(math.pi * step / args.steps))
            )
        starts = torch.randint(0, len(text) - args.context - 1, (args.rows,), generator=random).tolist()
        rows = torch.stack([text[s : s + args.context + 1] for s in starts])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def bits(model: Decoder, text: torch.Tensor, length: int) -> float:
    """Bits per byte of the last quarter of windows of this length."""
    rows = torch.stack(
        [text[s : s + length + 1] for s in range(0, min(len(text) - length - 1, 24 * length), length)]
    )
    logits = model(rows[:, :-1])[:, -length // 4 :]
    return float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:][:, -length // 4 :].flatten())) / math.log(
        2
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/longer"))
    args = parser.parse_args()
    raw = args.data.read_bytes() if args.data else "\n".join(d.text for d in standard_library()).encode()
    text = torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()
    cut, found = int(0.95 * len(text)), {}
    lengths = [args.context * 2**n for n in range(int(math.log2(args.factor)) + 1)]
    scalings = {"linear": Linear(args.factor), "ntk": NTK(args.factor), "dynamic ntk": DynamicNTK(args.factor, args.context),
                "yarn": Yarn(args.factor, args.context),
                "longrope": LongRope((1.0,) * (HEAD // 2), tuple(float(args.factor) ** (n / (HEAD // 2 - 1)) for n in range(HEAD // 2)),
                                     args.context)}  # fmt: skip
    for name, plan in models(args).items():
        model = Decoder(plan, seed=args.seed)
        train(model, text[:cut], args)
        found[name] = [bits(model, text[cut:], n) for n in lengths]
        print(f"{name:<20}" + "".join(f"{b:>9.3f}" for b in found[name]), flush=True)
        for title, scaling in scalings.items() if name == "rope" else ():
            other = Decoder(scaled(plan, scaling))
            other.load_state_dict(model.state_dict())
            found[f"rope + {title}"] = [bits(other, text[cut:], n) for n in lengths]
            print(f"rope + {title:<13}" + "".join(f"{b:>9.3f}" for b in found[f"rope + {title}"]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bits.json").write_text(
        json.dumps({"settings": vars(args), "lengths": lengths, "bits": found}, default=str, indent=1)
    )
    plot.lines(args.out / "bits.png", {name: (lengths, row) for name, row in found.items()}, x="tested length",
               title=f"Trained at {args.context} bytes, tested longer", y="bits per byte", log="x")  # fmt: skip
    print(f"lengths {lengths}; figures in {args.out}")


if __name__ == "__main__":
    main()
