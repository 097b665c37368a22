"""Where attention looks when it looks for something: plain, gated and differential attention, of equal parameters.

    python recipes/sink_and_noise.py
    python recipes/sink_and_noise.py --steps 3000 --width 128 --layers 4 --context 256 --data corpus.txt

Rows are a start token, bytes of text (--data, by default the documentation in Python's standard library) in which
a few key-value pairs are hidden, then the keys again, each followed by its value. On text held out:

    recall   share of values that are named
    sink     weight of all later tokens on the start token, mean over layers and heads (arXiv:2309.17453)
    answer   weight of the asking token on the value looked for, in the head that gives most    (arXiv:2410.05258, 3.3)
    noise    weight of the asking token on the text around, in the same head

Weights of differential attention may be negative: magnitudes are counted, as shares of their sum.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model.architecture import Architecture
from ownlm.model.attention.differential import Differential
from ownlm.model.attention.gated import Gated
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.attention.scaled_dot_product import sink_mass
from ownlm.model.comparisons import matched
from ownlm.model.decoder import Decoder
from ownlm.model.hooks import hooked
from ownlm.model.position import Rope
from ownlm.runtime.adapters import matplotlib as plot

KEYS, PAIRS, HEAD = 16, 4, 8
START, VOCAB = 256 + 2 * KEYS, 256 + 2 * KEYS + 1  # bytes, keys, values, the start token

DEFAULTS = {"steps": 600, "width": 32, "layers": 2, "rows": 32, "context": 48, "seed": 0}


def models(args: argparse.Namespace) -> dict[str, Architecture]:
    heads, rope = args.width // HEAD, Rope()
    kinds = {"plain": GroupedQuery(heads, heads, HEAD, rope), "gated": Gated(heads, heads, HEAD, rope),
             "gated by head": Gated(heads, heads, HEAD, rope, gate="head"),
             "differential": Differential(heads // 2, heads // 2, HEAD, rope)}  # fmt: skip
    return {name: matched([mixer] * args.layers, args.width, VOCAB) for name, mixer in kinds.items()}


def batch(
    text: torch.Tensor, rows: int, context: int, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """ids [rows, context], and where in them the values asked for are hidden [rows, PAIRS]; key i is asked for at
    context - 2 PAIRS + 2 i."""
    length = context - 1 - 2 * PAIRS
    starts = torch.randint(0, len(text) - length, (rows,), generator=random).tolist()
    ids = torch.stack([text[s : s + length] for s in starts])
    cells = 2 * torch.rand(rows, length // 2, generator=random).argsort(dim=1)[:, :PAIRS]
    keys = 256 + torch.rand(rows, KEYS, generator=random).argsort(dim=1)[:, :PAIRS]
    values = torch.randint(256 + KEYS, START, keys.shape, generator=random)
    ids = ids.scatter(1, cells, keys).scatter(1, cells + 1, values)
    asked = torch.stack((keys, values), dim=2).flatten(1)
    return torch.cat((torch.full((rows, 1), START), ids, asked), dim=1), cells + 2


def train(model: Decoder, text: torch.Tensor, args: argparse.Namespace) -> None:
    random = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95))
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, (step + 1) / 30) * (0.525 + 0.475 * math.cos(math.pi * step / args.steps))
            )
        ids, _ = batch(text, args.rows, args.context, random)
        losses = F.cross_entropy(
            model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none"
        )  # [rows, context - 1]
        loss = losses[:, -2 * PAIRS + 1 :: 2].mean() + 0.1 * losses.mean()  # the values asked for, then all
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def measure(model: Decoder, text: torch.Tensor, args: argparse.Namespace) -> dict[str, float]:
    ids, hidden = batch(text, 128, args.context, torch.Generator().manual_seed(args.seed + 1))
    seen: dict[str, torch.Tensor] = {}
    points = [f"blocks.{n}.mixer.pattern" for n in range(args.layers)]
    model.eval()
    with hooked(model, {p: lambda w, p=p: seen.__setitem__(p, w) for p in points}):
        named = model(ids).argmax(-1)
    weights = torch.stack(
        [seen[p].abs() / seen[p].abs().sum(-1, keepdim=True) for p in points]
    )  # [layers,B,H,T,T]
    asking = torch.arange(args.context - 2 * PAIRS, args.context, 2)
    there = weights[:, :, :, asking]  # [layers,B,H,PAIRS,T]
    index = hidden[None, :, None, :, None].expand(*there.shape[:4], 1)
    answer = there.gather(-1, index)[..., 0].mean((1, 3))  # [layers,H]
    is_text = ((ids < 256) & (torch.arange(args.context) > 0)).float()
    noise = torch.einsum("nbhqt,bt->nhbq", there, is_text).mean((2, 3))
    best = int(answer.argmax())
    return {"recall": float((named[:, asking] == ids[:, asking + 1]).float().mean()),
            "sink": float(sink_mass(weights).mean()), "answer": float(answer.flatten()[best]),
            "noise": float(noise.flatten()[best])}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/sink_and_noise"))
    args = parser.parse_args()
    raw = args.data.read_bytes() if args.data else "\n".join(d.text for d in standard_library()).encode()
    text = torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()
    cut, found = int(0.95 * len(text)), {}
    for name, plan in models(args).items():
        model = Decoder(plan, seed=args.seed)
        train(model, text[:cut], args)
        found[name] = {"parameters": model.num_parameters()} | measure(model, text[cut:], args)
        print(f"{name:<14}" + "  ".join(f"{k} {v:.3f}" for k, v in found[name].items()), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "sink_and_noise.json").write_text(
        json.dumps({"settings": vars(args), "models": found}, default=str, indent=1)
    )
    shares = {
        what: {name: row[what] for name, row in found.items()}
        for what in ("recall", "sink", "answer", "noise")
    }
    plot.bars(args.out / "sink_and_noise.png", shares, title="where attention looks", y="share")


if __name__ == "__main__":
    main()
