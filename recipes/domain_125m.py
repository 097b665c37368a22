"""A model of GPT-2's size on text of your own domain: the plan, what it costs, and a small run held against its law.

    python recipes/domain_125m.py                                              the plan, and a trial of half a minute
    python recipes/domain_125m.py --data domain.txt --sizes 1x32,2x32,2x64 --tokens 1e6 2e6 4e6 8e6 --out out/domain
    python recipes/domain_125m.py --full --data out/shards --out out/domain    the plan, run.yaml and config.json

Plan: 12 layers of 768, 1,024 positions, 50,304 tokens: 123.6 M parameters (our decoder in GPT-2 small's size). Time is
counted by plan/layouts.py, not measured (--mfu takes yours). --full then says `ownlm pretrain --config OUT/run.yaml --out OUT/run`.

Trial: three small models at several budgets (a ladder), Chinchilla's law fitted to all but the last budget, and the
largest model's loss at the last one predicted with its 95 % interval, then measured. A law of models of ten thousand parameters
says how runs are foreseen, not what 125 M parameters will reach. Without --data the text is Python's standard library.
Writes domain_125m.json to --out.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from ownlm.data.stdlib import standard_library
from ownlm.errors import OwnlmError
from ownlm.model.config import ModelConfig
from ownlm.model.count import flops_per_token, num_parameters
from ownlm.plan.layouts import GPUS, Cluster, Shape, layouts
from ownlm.plan.scaling import chinchilla
from ownlm.plan.scaling import predict as prediction
from ownlm.train.ladder import rungs, text
from ownlm.train.ladder.climb import climb
from ownlm.train.ladder.rungs import LadderSettings

MODEL = ModelConfig(50_304, 768, 2048, 12, 12, 12, 64, 1024)
SHAPE = Shape("125m", 12, 768, 12, 12, 64, 2048, True, 50_304, 1024, True)
ROWS = 512  # of 1,024 tokens: half a million a step, as GPT-2 and GPT-3 of this size
TOKENS = {"short timeline": 1e9, "lower end": 10e9, "upper end": 50e9}
CLUSTERS = (Cluster(1, "h100-80"), Cluster(8, "h100-80"), Cluster(8, "a100-80"))
REFERENCE_USD = (5_000, 20_000)
FULL = {"objective": "causal", "context": 1024, "batch_tokens": ROWS * 1024, "budget": "10B tokens", "evaluate_steps": 1000,
        "benchmark_steps": 5000, "train": {"optimizer": "adamw", "learning_rate": 6e-4,
        "schedule": "cosine", "warmup_steps": 1000, "weight_decay": 0.1, "micro_tokens": 16_384, "precision": "bfloat16",
        "checkpoint_steps": 1000, "keep_every": 5000}}  # fmt: skip


def plan(price: float, lost: float, measured: float | None) -> list[dict[str, Any]]:
    """One row per cluster and number of tokens. USD: GPU-hours times `price`, with the lost share."""
    found = []
    for cluster in CLUSTERS:
        mfu = measured or layouts(SHAPE, cluster, ROWS)[0].mfu
        for name, tokens in TOKENS.items():
            flops = tokens * SHAPE.flops_per_token
            hours = flops / (mfu * GPUS[cluster.gpu].flops) / 3600 * (1 + lost)
            found.append({"gpus": cluster.num_gpus, "gpu": cluster.gpu, "budget": name, "tokens": tokens, "mfu": mfu,
                          "flops": flops, "gpu_hours": hours, "usd": hours * price})  # fmt: skip
    return found


def show_plan(rows: list[dict[str, Any]], price: float, lost: float) -> None:
    print(f"{num_parameters(MODEL):,} parameters, {flops_per_token(MODEL, 1024):,} operations per token; "
          f"{price:g} USD per GPU hour, {lost:.0%} lost to failures and measuring")  # fmt: skip
    print(f"{'budget':<16}{'tokens':>8}{'operations':>12}  {'GPUs':<14}{'MFU':>6}{'GPU hours':>11}{'USD':>9}")
    for row in rows:
        print(f"{row['budget']:<16}{row['tokens'] / 1e9:>6.0f} G{row['flops']:>12.2g}  {row['gpus']} x {row['gpu']:<10}"
              f"{row['mfu']:>6.1%}{row['gpu_hours']:>11.1f}{row['usd']:>9,.0f}")  # fmt: skip
    dearest = max(rows, key=lambda row: row["usd"])
    low, high = (usd / dearest["usd"] for usd in REFERENCE_USD)
    print(f"Reference: {REFERENCE_USD[0]:,} to {REFERENCE_USD[1]:,} USD. One run does not cost that: the dearest above is {dearest['usd']:,.0f} USD.\n"
          f"The reference is {low:.0f} to {high:.0f} such runs (tokenizers, mixtures, rates, seeds: a project), or one run at "
          f"{dearest['mfu'] / high:.1%} to {dearest['mfu'] / low:.1%} of the peak.\nPeople, data and storage are in neither.")  # fmt: skip


def write_full(args: argparse.Namespace) -> None:
    """OUT/config.json and OUT/run.yaml for `ownlm pretrain`."""
    from ownlm.model.adapters.families import llama

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(llama.write(MODEL), indent=1) + "\n")
    run = {"data": str(args.data or "out/shards"), "size": str(args.out / "config.json"), **FULL}
    (args.out / "run.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    print(f"next: ownlm pretrain --config {args.out / 'run.yaml'} --out {args.out / 'run'}"
          "   (token shards: ownlm data shards ... --vocab-size 50304 --heldout 0.005)")  # fmt: skip


def trial(args: argparse.Namespace) -> dict[str, Any]:
    """The ladder, the law of its smaller budgets, and the last run beside what the law said of it."""
    path = args.data
    if path is None:
        path = args.out / "standard_library.txt"
        args.out.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            path.write_text("\n\n".join(d.text for d, _ in zip(standard_library(), range(150), strict=False)))
    settings = LadderSettings(sizes=tuple(args.sizes.split(",")), tokens=tuple(int(t) for t in args.tokens), context=64,
                              batch_tokens=1024, heldout_tokens=args.heldout, train={"threads": args.threads})  # fmt: skip
    ids, vocab = text.read(path)
    steps, _ = rungs.rungs(settings, vocab)
    longest = max(rung.tokens for rung in steps)
    known = [rung for rung in steps if rung.tokens < longest]
    target = max((rung for rung in steps if rung.tokens == longest), key=lambda rung: rung.parameters)
    parts = text.split(ids, vocab, settings.heldout_tokens, settings.context, str(path))
    runs = []
    for run, _ in climb([*known, target], settings, parts, args.out / "ladder", notice=lambda told: None):
        print(f"{run.name:<14}{run.parameters:>9,} parameters{run.tokens:>11,} tokens  loss {run.loss:.4f} +- {run.loss_stderr:.4f}")  # fmt: skip
        runs.append(run)
    last = next(run for run in runs if run.name == target.name)
    fitted = chinchilla.fit(prediction.points([run for run in runs if run is not last]), 200, 0)
    said = prediction.predict(fitted, last.parameters, last.tokens, last.unique_tokens)
    inside = said.contains(last.loss)
    print(f"predicted for {last.name}: {said.loss:.4f} ({said.low:.4f} to {said.high:.4f}), {said.reach:.1f} times the largest run, {said.num_backtests} backtests; "
          f"measured {last.loss:.4f}: {'inside' if inside else 'OUTSIDE'} the interval, {last.loss / said.loss - 1:+.2%}")  # fmt: skip
    curve = {
        str(run.tokens): fitted.loss(run.parameters, run.tokens)
        for run in runs
        if run.parameters == last.parameters
    }
    return {"runs": [dataclasses.asdict(run) for run in runs], "predicted": dataclasses.asdict(said), "curve": curve,
            "measured": last.loss, "inside": inside}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="write the whole run's settings, train nothing")
    parser.add_argument("--data", type=Path, help="a text or a prefix of shards; --full: a folder")
    parser.add_argument("--price", type=float, default=4.0, help="USD per GPU and hour")
    parser.add_argument("--lost", type=float, default=0.15, help="share of time for failures, measuring")
    parser.add_argument("--mfu", type=float, help="share of the peak, as measured; default: the plan's")
    parser.add_argument("--sizes", default="1x16,1x32,2x32", help="of the trial: layers x width")
    parser.add_argument("--tokens", type=float, nargs="+", default=[16e3, 32e3, 64e3, 128e3, 256e3])
    parser.add_argument("--heldout", type=int, default=32_768, help="tokens that the trial is measured on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/domain_125m"))
    args = parser.parse_args()
    try:
        rows = plan(args.price, args.lost, args.mfu)
        show_plan(rows, args.price, args.lost)
        found = None if args.full else trial(args)
        if args.full:
            write_full(args)
    except OwnlmError as error:
        sys.exit(str(error))
    (args.out / "domain_125m.json").write_text(json.dumps(
        {"parameters": num_parameters(MODEL), "reference_usd": REFERENCE_USD, "plan": rows, "trial": found}, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
