"""A character-level GPT of two layers: any position encoding, samples, and the gradient that reaches each layer.

    python recipes/char_gpt.py                                   Python's documentation, 40,000 parameters, about 20 s
    python recipes/char_gpt.py --data tinyshakespeare.txt        in the style of the file
    python recipes/char_gpt.py --positions all                   rope, learned, sinusoidal, alibi, none: one table
    ... --width 128 --layers 4 --steps 5000                      larger

Writes loss and gradient-flow pictures and a JSON file to --out.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model.absolute import Learned, Sinusoidal
from ownlm.model.architecture import Architecture
from ownlm.model.attention.biased import Alibi, Biased
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.position import Rope
from ownlm.runtime.adapters import matplotlib as plot
from ownlm.tokenizer.trainers import train as learn

POSITIONS = ("rope", "learned", "sinusoidal", "alibi", "none")

DEFAULTS = {"steps": 600, "width": 48, "layers": 2, "rows": 16, "context": 128, "seed": 0}


def shape(kind: str, vocab_size: int, args: argparse.Namespace) -> Architecture:
    """The model with positions of one kind; all else equal."""
    heads, head = args.width // 16, 16
    mixer = Biased(heads, heads, head, bias=Alibi()) if kind == "alibi" else GroupedQuery(
        heads, heads, head, Rope() if kind == "rope" else None)  # fmt: skip
    layer = Layer(mixer, FeedForward(8 * args.width // 3))
    added = {"learned": Learned(args.context), "sinusoidal": Sinusoidal(args.context)}.get(kind)
    return Architecture(vocab_size, args.width, (layer,) * args.layers, args.context, positions=added)


def windows(
    ids: torch.Tensor, args: argparse.Namespace, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(0, len(ids) - args.context - 1, (args.rows,), generator=random)
    rows = torch.stack([ids[s : s + args.context + 1] for s in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]


def train(model: Decoder, ids: torch.Tensor, held: torch.Tensor, args: argparse.Namespace) -> dict:
    """AdamW with warm-up and cosine; validation loss and the gradient norm of every layer, each 10th of the run."""
    random = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.05)
    found: dict = {"losses": [], "validation": [], "gradient_norms": []}
    began = time.perf_counter()
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, step / 30) * (0.525 + 0.475 * math.cos(math.pi * step / args.steps))
            )
        inputs, targets = windows(ids, args, random)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norms = [
            float(sum(p.grad.square().sum() for p in block.parameters()) ** 0.5) for block in model.blocks
        ]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found["losses"].append(float(loss.detach()))
        if step % max(1, args.steps // 10) == 0:
            check = torch.Generator().manual_seed(99)
            with torch.no_grad():
                rows = [windows(held, args, check) for _ in range(8)]
                value = sum(
                    float(F.cross_entropy(model(a).flatten(0, 1), b.flatten())) for a, b in rows
                ) / len(rows)
            found["validation"].append([step, value])
            found["gradient_norms"].append([step, norms])
            print(
                f"  step {step:>5}  loss {loss:.3f}  validation {value:.3f}  {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    return found


@torch.no_grad()
def sample(
    model: Decoder, start: list[int], length: int, temperature: float, seed: int, limit: int
) -> list[int]:
    """Ids that continue `start`; begins anew with the last half when the context is full."""
    random, ids = torch.Generator().manual_seed(seed), list(start)
    cache, pending = model.new_cache(), list(start)
    for _ in range(length):
        if cache.length + len(pending) > limit:
            cache, pending = model.new_cache(), ids[-limit // 2 :]
        logits = model(torch.tensor([pending]), cache)[0, -1] / temperature
        pending = [int(torch.multinomial(logits.softmax(-1), 1, generator=random))]
        ids += pending
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--positions", default="rope", choices=[*POSITIONS, "all"])
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/char_gpt"))
    args = parser.parse_args()
    text = args.data.read_text("utf-8") if args.data else "\n".join(d.text for d in standard_library())
    tokenizer = learn("characters", [text], 100_000).tokenizer
    ids = torch.tensor(tokenizer.encode(text))
    cut = int(0.9 * len(ids))
    args.out.mkdir(parents=True, exist_ok=True)
    runs = {}
    for kind in POSITIONS if args.positions == "all" else (args.positions,):
        model = Decoder(shape(kind, tokenizer.vocab_size, args), seed=args.seed)
        print(f"{kind}: {model.num_parameters():,} parameters, {tokenizer.vocab_size} characters")
        runs[kind] = train(model, ids[:cut], ids[cut:], args) | {"parameters": model.num_parameters()}
        written = sample(model, tokenizer.encode("\n"), 200, 0.8, args.seed, args.context)
        runs[kind]["sample"] = tokenizer.decode(written)
        print(f"--- sample\n{runs[kind]['sample']}\n---")
    (args.out / "runs.json").write_text(
        json.dumps({"settings": vars(args), "runs": runs}, default=str, indent=1)
    )
    plot.lines(args.out / "validation.png", {k: tuple(zip(*r["validation"])) for k, r in runs.items()},
               title="Validation loss by position encoding", x="step", y="nats per character")  # fmt: skip
    flow = {f"{kind}, layer {n}": ([s for s, _ in run["gradient_norms"]], [norms[n] for _, norms in run["gradient_norms"]])
            for kind, run in runs.items() for n in range(args.layers)}  # fmt: skip
    plot.lines(
        args.out / "gradient_flow.png", flow, title="Gradient norm of each layer", x="step", y="norm", log="y"
    )
    for kind, run in runs.items():
        print(
            f"{kind:<12} validation {run['validation'][-1][1]:.3f} nats per character, {run['parameters']:,} parameters"
        )
    print(f"pictures and figures in {args.out}")


if __name__ == "__main__":
    main()
