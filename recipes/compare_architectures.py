"""The lines of development side by side: same data, same budget, equal parameters; one table, one picture.

    python recipes/compare_architectures.py attention            MHA -> GQA -> MQA -> MLA -> gated -> hybrid
    python recipes/compare_architectures.py state-space          attention beside S4, S5, Mamba, Mamba-2, a hybrid
    python recipes/compare_architectures.py linear               linear attention, RetNet, DeltaNet, gated DeltaNet
    python recipes/compare_architectures.py feed-forward         ReLU, GELU, SwiGLU at equal parameters
    python recipes/compare_architectures.py wiring               pre-norm, post-norm and kin: gradient norm per layer too
    ... --steps 10000 --width 256 --layers 8 --data corpus.txt    full size

Half of every batch is text (bytes of --data, by default the documentation in Python's standard library), half is
associative recall: 8 tokens that each stand for a key and its value, then keys to be answered with their values
(after Arora et al. 2023, arXiv:2312.04927).
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
from ownlm.model.comparisons import lines
from ownlm.model.decoder import Decoder
from ownlm.runtime.adapters import matplotlib as plot

PAIR, KEY, VALUE, VOCAB = 256, 512, 528, 544  # behind the bytes: 16 x 16 pair tokens, 16 keys, 16 values
PAIRS = 8

DEFAULTS = {"steps": 1500, "width": 64, "layers": 2, "rows": 32, "context": 48, "seed": 0}


def batch(
    text: torch.Tensor, rows: int, context: int, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, targets) [rows, context]: the first half of the rows text, the others recall; -100 is not trained on."""
    starts = torch.randint(0, len(text) - context - 1, (rows // 2,), generator=random)
    windows = torch.stack([text[s : s + context + 1] for s in starts.tolist()])
    ids, targets = [windows[:, :-1]], [windows[:, 1:]]
    keys = torch.rand(rows - rows // 2, 16, generator=random).argsort(dim=1)[:, :PAIRS]
    values = torch.randint(16, keys.shape, generator=random)
    asked = torch.randint(0, PAIRS, (len(keys), (context - PAIRS) // 2), generator=random)
    queries = torch.stack((KEY + keys.gather(1, asked), VALUE + values.gather(1, asked)), dim=2).flatten(1)
    row = F.pad(torch.cat((PAIR + 16 * keys + values, queries), dim=1), (0, (context - PAIRS) % 2))
    answers = torch.full_like(row, -100)
    places = torch.arange(PAIRS, PAIRS + queries.shape[1], 2)
    answers[:, places] = row[:, places + 1]
    return torch.cat((*ids, row)), torch.cat((*targets, answers))


def run(
    name: str, shape: Architecture, text: torch.Tensor, held: torch.Tensor, args: argparse.Namespace
) -> dict:
    """Train one model; its line of the table."""
    torch.manual_seed(args.seed)
    model, random = Decoder(shape, seed=args.seed), torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.01)
    began, losses = time.perf_counter(), []
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, (step + 1) / 20) * (0.55 + 0.45 * math.cos(math.pi * step / args.steps))
            )
        ids, targets = batch(text, args.rows, args.context, random)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            norms = [float(sum(p.grad.square().sum() for p in b.parameters()) ** 0.5) for b in model.blocks]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    seconds = time.perf_counter() - began
    model.eval()
    with torch.no_grad():
        ids, targets = batch(held, 128, args.context, torch.Generator().manual_seed(1234))
        logits = model(ids)
        bits = F.cross_entropy(logits[:64].flatten(0, 1), targets[:64].flatten()) / math.log(2)
        answered = targets[64:] != -100
        recall = (logits[64:].argmax(-1) == targets[64:])[answered].float().mean()
    return {"model": name, "parameters": model.num_parameters(), "bits_per_byte": round(float(bits), 3),
            "recall": round(float(recall), 3), "cache_bytes_per_token": model.cache_bytes_per_token(4),
            "tokens_per_second": round(args.steps * args.rows * args.context / seconds),
            "first_gradient_norms": [round(n, 3) for n in norms], "losses": losses}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("line", choices=list(lines(64, 4, VOCAB)))
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/compare"))
    args = parser.parse_args()
    raw = args.data.read_bytes() if args.data else "\n".join(d.text for d in standard_library()).encode()
    text = torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()
    cut = int(0.95 * len(text))
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, shape in lines(args.width, args.layers, VOCAB)[args.line].items():
        rows.append(run(name, shape, text[:cut], text[cut:], args))
        print(json.dumps({k: v for k, v in rows[-1].items() if k != "losses"}), flush=True)
    (args.out / f"{args.line}.json").write_text(
        json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1)
    )
    smooth = {
        r["model"]: (
            range(9, args.steps),
            [sum(r["losses"][i - 9 : i + 1]) / 10 for i in range(9, args.steps)],
        )
        for r in rows
    }
    plot.lines(
        args.out / f"{args.line}.png",
        smooth,
        title=f"{args.line}: same data, same parameters",
        x="step",
        y="loss, nats",
    )
    print(f"{args.out / args.line}.json and .png")


if __name__ == "__main__":
    main()
