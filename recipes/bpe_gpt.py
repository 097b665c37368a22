"""A small GPT over one's own BPE tokens: learn the vocabulary, train, sample, and see where time and memory go.

    python recipes/bpe_gpt.py                                     Python's documentation, 1 M parameters, about a minute
    python recipes/bpe_gpt.py --data corpus.txt --vocab-size 8192 --depth 8 --steps 5000

Byte-level and character tokens beside it, by bits per byte: --tokens bytes, --tokens characters, --tokens all.
"""

import argparse
import json
import math
import resource
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ownlm.data.stdlib import standard_library
from ownlm.model import inspect
from ownlm.model.decoder import Decoder
from ownlm.model.presets import from_dial
from ownlm.tokenizer.trainers import train as learn

KINDS = ("bpe", "characters", "bytes")

DEFAULTS = {"steps": 400, "depth": 3, "rows": 16, "context": 128, "seed": 0, "vocab-size": 2048}


def train(model: Decoder, ids: torch.Tensor, args: argparse.Namespace) -> float:
    """AdamW, warm-up, cosine; returns seconds."""
    random = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.05)
    began = time.perf_counter()
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = (
                args.rate * min(1, step / 30) * (0.525 + 0.475 * math.cos(math.pi * step / args.steps))
            )
        starts = torch.randint(0, len(ids) - args.context - 1, (args.rows,), generator=random).tolist()
        rows = torch.stack([ids[s : s + args.context + 1] for s in starts])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, args.steps // 5) == 0:
            print(f"  step {step:>5}  loss {loss:.3f}  {time.perf_counter() - began:.0f} s", flush=True)
    return time.perf_counter() - began


@torch.no_grad()
def bits_per_byte(model: Decoder, tokenizer, text: str, context: int) -> float:
    """Of held-out text, in windows that each begin without context: comparable across tokenizers."""
    ids = torch.tensor(tokenizer.encode(text))
    nats = 0.0
    for start in range(0, len(ids) - 1, context):
        row = ids[start : start + context + 1]
        if len(row) > 1:
            nats += float(F.cross_entropy(model(row[None, :-1])[0], row[1:], reduction="sum"))
    return nats / math.log(2) / len(text.encode())


@torch.no_grad()
def sample(model: Decoder, tokenizer, start: str, length: int, seed: int) -> str:
    random, cache = torch.Generator().manual_seed(seed), model.new_cache()
    ids = tokenizer.encode(start)
    pending = ids
    for _ in range(length):
        logits = model(torch.tensor([pending]), cache)[0, -1, : tokenizer.vocab_size] / 0.8
        pending = [int(torch.multinomial(logits.softmax(-1), 1, generator=random))]
        ids = ids + pending
    return tokenizer.decode(ids)


def profile(model: Decoder, args: argparse.Namespace) -> dict:
    """Where a training step's memory and operations go, by formula and as measured."""
    ids = torch.zeros(args.rows, args.context, dtype=torch.int64)
    saved = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        model(ids).mean().backward()
    weights = 4 * model.num_parameters()
    return {"weights_MiB": weights / 2**20, "gradients_MiB": weights / 2**20, "adamw_state_MiB": 2 * weights / 2**20,
            "saved_for_backward_MiB": saved / 2**20,
            "forward_MFLOP_per_token_formula": model.flops_per_token(args.context) / 3e6,
            "forward_MFLOP_per_token_measured": inspect.measured_flops(model, ids) / ids.numel() / 1e6,
            "cache_KiB_per_token": model.cache_bytes_per_token(4) / 1024,
            "peak_process_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", default="bpe", choices=[*KINDS, "all"])
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--data", type=Path, help="a text file; default: Python's own documentation")
    parser.add_argument("--out", type=Path, default=Path("out/bpe_gpt"))
    args = parser.parse_args()
    text = args.data.read_text("utf-8") if args.data else "\n".join(d.text for d in standard_library())
    cut = int(0.97 * len(text))
    args.out.mkdir(parents=True, exist_ok=True)
    runs = {}
    for kind in KINDS if args.tokens == "all" else (args.tokens,):
        tokenizer = learn(kind, [text], args.vocab_size if kind == "bpe" else 100_000).tokenizer
        ids = torch.tensor(tokenizer.encode(text[:cut]))
        model = Decoder(from_dial(args.depth, tokenizer.vocab_size, args.context * 2), seed=args.seed)
        print(
            f"{kind}: {tokenizer.vocab_size:,} tokens, {len(ids):,} in the text, {model.num_parameters():,} parameters"
        )
        seconds = train(model, ids, args)
        runs[kind] = {"parameters": model.num_parameters(), "seconds": round(seconds, 1),
                      "bits_per_byte": round(bits_per_byte(model, tokenizer, text[cut:], args.context), 3),
                      "sample": sample(model, tokenizer, text[cut : cut + 20], 60, args.seed),
                      "profile": {k: round(v, 2) for k, v in profile(model, args).items()}}  # fmt: skip
        print(json.dumps(runs[kind], indent=1, ensure_ascii=False))
    (args.out / "runs.json").write_text(
        json.dumps({"settings": vars(args), "runs": runs}, default=str, indent=1)
    )
    print(f"figures in {args.out}")


if __name__ == "__main__":
    main()
