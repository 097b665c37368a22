"""Three ways to write text, side by side at equal parameters: token after token, patch after patch, all at once.

    python recipes/ways_of_writing.py                         Python's documentation as bytes, about a minute
    python recipes/ways_of_writing.py --steps 5000 --width 256 --layers 8 --data corpus.txt

Autoregressive decoder, MegaByte, masked diffusion: bits per byte of held-out text (for the diffusion model an upper
bound), seconds and network passes to write. What is written is judged by the bits per byte that the autoregressive
model gives it; a text that repeats itself scores low too, so the share of different byte triples stands beside it.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.byte_patch import BytePatch, measure_bits_per_byte, megabyte
from ownlm.model.decoder import Decoder
from ownlm.model.diffusion_lm import DiffusionLM, diffusion
from ownlm.model.diffusion_loss import elbo_loss
from ownlm.model.diffusion_sampling import canvas, fill
from ownlm.model.layers import FeedForward
from ownlm.model.position import Rope
from ownlm.runtime.adapters import matplotlib as plot

PATCH = 4

DEFAULTS = {"steps": 400, "width": 64, "layers": 4, "rows": 16, "context": 128, "seed": 0}


def models(args: argparse.Namespace) -> dict:
    heads, width = args.width // 16, args.width
    layer = Layer(GroupedQuery(heads, heads, 16, Rope()), FeedForward(8 * width // 3))
    half = max(1, args.layers // 2)
    return {
        "autoregressive": Decoder(Architecture(256, width, (layer,) * args.layers, args.context), args.seed),
        "patches": BytePatch(megabyte(PATCH, width, width // 2, (args.layers, half), (heads, max(1, heads // 2)), args.context), args.seed),
        "diffusion": DiffusionLM(diffusion(256, width, args.layers, heads, 4 * width, args.context), args.seed),
    }  # fmt: skip


def loss_of(name: str, model: torch.nn.Module, rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    if name == "diffusion":
        return elbo_loss(model, rows, random)
    if name == "patches":  # predicts every byte, the first one too
        return F.cross_entropy(model.predictions(rows).flatten(0, 1), rows.flatten())
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def train(name: str, model: torch.nn.Module, text: torch.Tensor, args: argparse.Namespace) -> float:
    random = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95))
    began = time.perf_counter()
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, step / 30) * (0.525 + 0.475 * math.cos(math.pi * step / args.steps))
            )
        starts = torch.randint(0, len(text) - args.context, (args.rows,), generator=random).tolist()
        loss = loss_of(name, model, torch.stack([text[s : s + args.context] for s in starts]), random)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - began


@torch.no_grad()
def bits(name: str, model: torch.nn.Module, rows: torch.Tensor) -> float:
    """Bits per byte; of the diffusion model the bound, averaged over 16 draws."""
    if name == "patches":
        return measure_bits_per_byte(model, rows)
    random, draws = torch.Generator().manual_seed(7), 16 if name == "diffusion" else 1
    return sum(float(loss_of(name, model, rows, random)) for _ in range(draws)) / draws / math.log(2)


@torch.no_grad()
def write(
    name: str, model: torch.nn.Module, prompts: torch.Tensor, length: int, steps: int, seed: int
) -> torch.Tensor:
    """prompts [B, T] and `length` bytes more; steps: passes of the diffusion model."""
    random = torch.Generator().manual_seed(seed)
    if name == "diffusion":
        return fill(model, canvas(prompts, length, model.config.mask_id), steps, random, temperature=0.8)
    cache, ids, pending = model.new_cache(), prompts, prompts
    for _ in range(length):
        chances = (model(pending, cache)[:, -1] / 0.8).softmax(-1)
        pending = torch.multinomial(chances, 1, generator=random)
        ids = torch.cat((ids, pending), dim=1)
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/ways"))
    args = parser.parse_args()
    raw = args.data.read_bytes() if args.data else "\n".join(d.text for d in standard_library()).encode()
    text = torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()
    cut, length = int(0.95 * len(text)), args.context // 2
    held = torch.stack(
        [text[s : s + args.context] for s in range(cut, len(text) - args.context, args.context)][:32]
    )
    prompts, judge, rows = held[:8, :length], None, []
    for name, model in models(args).items():
        seconds = train(name, model, text[:cut], args)
        model.eval()
        judge = judge or model
        for steps in (length, length // 4, length // 16) if name == "diffusion" else (length,):
            began = time.perf_counter()
            written = write(name, model, prompts, length, max(1, steps), args.seed)
            spent, new = time.perf_counter() - began, written[:, length:]
            with torch.no_grad():
                judged = F.cross_entropy(
                    judge(written[:, :-1])[:, length - 1 :].flatten(0, 1), new.flatten()
                ) / math.log(2)
            rows.append({"model": name, "parameters": model.num_parameters(), "train_seconds": round(seconds, 1),
                         "bits_per_byte": round(bits(name, model, held), 3), "passes": max(1, steps),
                         "seconds_for_8_texts": round(spent, 3), "judged_bits": round(float(judged), 3),
                         "variety": round(len(new.unfold(1, 3, 1).flatten(0, 1).unique(dim=0)) / new[:, 2:].numel(), 3)})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "ways.json").write_text(
        json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1)
    )
    points = {f"{r['model']}, {r['passes']}": ([r["seconds_for_8_texts"]], [r["judged_bits"]]) for r in rows}
    plot.lines(
        args.out / "ways.png", points, title="Quality against latency", x="seconds", y="judged bits per byte"
    )
    print(f"figures in {args.out}")


if __name__ == "__main__":
    main()
