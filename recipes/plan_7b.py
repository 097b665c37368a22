"""A dry run: what it takes to pretrain a 7B Llama on 1 or 2 trillion tokens. Nothing is trained, no GPU is needed.

    python recipes/plan_7b.py                                    64 and 128 H100, 1 and 2 trillion tokens
    python recipes/plan_7b.py --gpus 64 96 128 --price 2.5 --tokens 2e12
    python recipes/plan_7b.py --model 1.3b --gpus 8 --tokens 3e10 --gpu h200-141

For every cluster: the fastest layouts that fit, memory, time and price; the loss that Chinchilla's law foresees; and
what published models of this size and this number of tokens reach, the marks that a run should be held to. The time
is the plan's: no failed machines, no evaluation, no experiments before; --lost adds a share for them. The law was fitted
on another text and tokenizer: it compares plans with each other, not with a measured loss.
Writes plan.json to --out.
"""

import argparse
import json
from pathlib import Path

from ownlm.plan.layouts import GPUS, SHAPES, Cluster, Row, Shape, layouts

REFERENCE = (
    200_000,
    500_000,
)  # USD: what such a run is commonly said to cost, failures and experiments included
TARGETS = {  # as published, in per cent: LLaMA 7B (Touvron et al. 2023, arXiv:2302.13971, tables 3 and 9) after 1T
    # tokens, Llama 2 7B (arXiv:2307.09288, tables 3 and 20) after 2T
    1e12: {"MMLU, 5 examples": 35.1, "HellaSwag": 76.1, "PIQA": 79.8, "WinoGrande": 70.1, "ARC easy": 72.8,
           "ARC challenge": 47.6, "BoolQ": 76.5},
    2e12: {"MMLU, 5 examples": 45.3, "HellaSwag": 77.2, "PIQA": 78.8, "WinoGrande": 69.2, "ARC easy": 75.2,
           "ARC challenge": 45.9, "BoolQ": 77.4},
}  # fmt: skip


def expected_loss(parameters: float, tokens: float) -> float:
    """Nats per token (Hoffmann et al. 2022, arXiv:2203.15556, appendix D.3)."""
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


def describe(row: Row, tokens: float, num_gpus: int, price: float, lost: float) -> dict[str, object]:
    """One layout in numbers for people. Days and dollars include the lost share."""
    days = tokens / row.tokens_per_second / 86_400 * (1 + lost)
    split = row.split
    return {
        "layout": str(split), "micro_rows": split.micro_rows, "stages_per_process": split.chunks, "recompute": split.recompute,
        "zero": split.zero, "runs_here": split.runs_here, "memory_gb": round(row.memory / 1e9, 1),
        "mfu": round(row.mfu, 3), "bubble": round(row.bubble, 3), "communication": round(row.communication, 3),
        "tokens_per_second": round(row.tokens_per_second), "days": round(days, 1),
        "usd": round(days * 24 * num_gpus * price, -3),
    }  # fmt: skip


def candidates(shape: Shape, cluster: Cluster, rows: int, count: int) -> list[Row]:
    """The fastest, and the fastest that ownlm itself can train."""
    found = layouts(shape, cluster, rows)
    here = [row for row in found if row.split.runs_here][:1]
    return found[:count] + [row for row in here if row not in found[:count]]


def show(shape: Shape, cluster: Cluster, tokens: float, made: list[dict[str, object]]) -> None:
    print(f"\n{shape.name}: {shape.parameters / 1e9:.2f} G parameters, {tokens / 1e12:g} T tokens, "
          f"{cluster.num_gpus} x {cluster.gpu} ({GPUS[cluster.gpu].memory / 1e9:.0f} GB)")  # fmt: skip
    print(f"expected loss {expected_loss(shape.parameters, tokens):.3f} nats per token (Chinchilla's law)")
    print(
        f"{'layout':<28}{'micro':>6}{'recompute':>11}{'ZeRO':>5}{'GB':>7}{'MFU':>7}{'bubble':>8}{'comm.':>7}{'days':>7}{'kUSD':>7}"
    )
    for row in made:
        mark = "" if row["runs_here"] else "  (needs ZeRO beside other axes: not in ownlm)"
        print(f"{row['layout']:<28}{row['micro_rows']:>6}{row['recompute']:>11}{row['zero']:>5}{row['memory_gb']:>7}"
              f"{row['mfu']:>7}{row['bubble']:>8}{row['communication']:>7}{row['days']:>7}{float(str(row['usd'])) / 1000:>7.0f}{mark}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="7b", choices=sorted(SHAPES))
    parser.add_argument("--gpu", default="h100-80", choices=sorted(GPUS))
    parser.add_argument("--gpus", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--tokens", type=float, nargs="+", default=[1e12, 2e12])
    parser.add_argument(
        "--rows", type=int, default=1024, help="sequences of a step (1,024 x 4,096 = 4 M tokens)"
    )
    parser.add_argument("--price", type=float, default=4.0, help="USD per GPU and hour")
    parser.add_argument(
        "--lost", type=float, default=0.15, help="share of time for failures, restarts, evaluation"
    )
    parser.add_argument("--out", type=Path, default=Path("out/plan_7b"))
    args = parser.parse_args()
    shape, report = SHAPES[args.model], []
    for num_gpus in args.gpus:
        cluster = Cluster(num_gpus, args.gpu)
        rows = candidates(shape, cluster, args.rows, 4)
        for tokens in args.tokens:
            made = [describe(row, tokens, num_gpus, args.price, args.lost) for row in rows]
            show(shape, cluster, tokens, made)
            report.append({"model": args.model, "gpus": num_gpus, "gpu": args.gpu, "tokens": tokens, "layouts": made,
                           "expected_loss": expected_loss(shape.parameters, tokens), "targets": TARGETS.get(tokens, {})})  # fmt: skip
    if args.model == "7b":
        print(f"\nReference for 1 to 2 T tokens: {REFERENCE[0]:,} to {REFERENCE[1]:,} USD, which also pays for what a plan "
              f"does not see (people's mistakes, ablations, storage). Here: {args.price} USD per GPU hour, {args.lost:.0%} lost.")  # fmt: skip
        for tokens in sorted(set(args.tokens) & TARGETS.keys()):
            print(f"Targets after {tokens / 1e12:g} T tokens: " + ", ".join(f"{name} {value}" for name, value in TARGETS[tokens].items()))  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "plan.json").write_text(
        json.dumps({"reference_usd": REFERENCE, "plans": report}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
