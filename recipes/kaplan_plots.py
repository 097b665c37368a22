"""Kaplan's plots from a ladder of small models: loss over size, data and compute, and the exponents beside 0.076 and
0.095 (Kaplan et al. 2020, arXiv:2001.08361).

    python recipes/kaplan_plots.py                           byte-level, 0.03 to 0.8 M parameters, some minutes
    python recipes/kaplan_plots.py --sizes 1x16,2x32 --tokens 8192,16384,32768,65536     a look
    python recipes/kaplan_plots.py --full --data SHARDS      1 to 100 M parameters by the depth dial, 20 tokens each: a GPU
    python recipes/kaplan_plots.py --from out/kaplan         only fit and draw again

The same as `ownlm scaling run`, `fit --report` and `predict` for the largest model, which is held back from the fit.
The text is Python's documentation unless --data names shards or a text file.
"""

import argparse
from pathlib import Path

import torch

from ownlm.data.stdlib import standard_library
from ownlm.plan.scaling import chinchilla, page, predict, summary
from ownlm.train.ladder import text
from ownlm.train.ladder.climb import climb
from ownlm.train.ladder.result import LadderRun, read_results
from ownlm.train.ladder.rungs import LadderSettings, rungs


def text_of(path: Path | None, out: Path) -> Path:
    if path is not None:
        return path
    path, found = out / "text.txt", b""
    for document in standard_library():
        found += document.text.encode()
        if len(found) > 4_000_000:
            break
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(found)
    return path


def run(args: argparse.Namespace) -> list[LadderRun]:
    data = text_of(args.data, args.out)
    ids, vocab_size = text.read(data)
    settings = LadderSettings(sizes=tuple(args.sizes.split(",")), tokens=tuple(int(float(t)) for t in args.tokens.split(",")),
                              per_parameter=(5.0, 10.0, 20.0, 40.0) if args.full else (), budget=args.budget,
                              heldout_tokens=args.heldout, train={"threads": args.threads, **({} if args.full else {"precision": "float32"})})  # fmt: skip
    plan, left_out = rungs(settings, vocab_size)
    print(f"{len(plan)} runs, {len(left_out)} above the budget left out")
    found = text.split(ids, vocab_size, settings.heldout_tokens, settings.context, str(data))
    done = []
    for result, new in climb(plan, settings, found, args.out, lambda told: None, args.device):
        done.append(result)
        print(f"{result.name:16} {result.parameters:>12,} parameters  loss {result.loss:.4f}  {result.seconds:6.1f} s{'' if new else '  (done before)'}", flush=True)  # fmt: skip
    return done


def held_back(runs: list[LadderRun]) -> None:
    """Predict the largest model's longest run from the smaller models, and say whether it came so."""
    largest = max(runs, key=lambda r: (r.parameters, r.tokens))
    ladder = [r for r in runs if r.parameters < largest.parameters]
    if len(ladder) < chinchilla.MIN_RUNS:
        print(f"nothing held back: {len(ladder)} runs of smaller models, {chinchilla.MIN_RUNS} are needed")
        return
    found = predict.predict(chinchilla.fit(predict.points(ladder)), largest.parameters, largest.tokens, largest.unique_tokens)  # fmt: skip
    print(f"held back {largest.name}: predicted {found.loss:.4f} in [{found.low:.4f}, {found.high:.4f}], measured {largest.loss:.4f}: "
          f"{'inside' if found.contains(largest.loss) else 'OUTSIDE'}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="depths 4 to 20, 5 to 40 tokens per parameter")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--from", dest="done", type=Path, help="results of an earlier ladder")
    parser.add_argument("--sizes", default="2x32,2x64,3x96,4x128")
    parser.add_argument("--tokens", default="250000,500000,1000000,2000000")
    parser.add_argument("--budget", type=float, default=3e12)
    parser.add_argument("--heldout", type=int, default=65_536)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("out/kaplan"))
    args = parser.parse_args()
    if args.full:
        args.sizes, args.budget = "4,6,8,10,12,16,20", None
    runs = read_results(args.done) if args.done else run(args)
    found = summary.summarise(runs)
    for row in found.rows:
        value = "none" if row.value is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.name:45} {value:24} published {row.published}   {row.note}")
    print("\n".join(found.sentences()))
    held_back(runs)
    page.write(args.out / "kaplan.html", runs, found)
    print(f"plots: {args.out / 'kaplan.html'}")


if __name__ == "__main__":
    main()
