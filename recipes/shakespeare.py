"""A character model of Tiny Shakespeare, through the same pipeline as `ownlm pretrain`, beside nanoGPT's figures.

    python recipes/shakespeare.py                                               a trial of seconds, on another text
    python recipes/shakespeare.py --data input.txt --minutes 3
    python recipes/shakespeare.py --data input.txt --steps 5000 --depth 8 train.compile=true

input.txt is the file of 1,115,394 characters that char-rnn and nanoGPT train on; it is not shipped. Its last tenth
is held out, as there. Without --data the text is Python's standard library, and a loss of it says nothing about
Shakespeare. Any setting of `ownlm pretrain --keys` can follow as key=value. The same command goes on where it stopped.
Writes the run, its model and shakespeare.json to --out.
"""

import argparse
import json
import math
import sys
from pathlib import Path

from ownlm import config
from ownlm.data.stdlib import standard_library
from ownlm.errors import UsageError
from ownlm.pipeline.pretraining.pretrain import pretrain
from ownlm.pipeline.pretraining.settings import PretrainSettings

NANOGPT = {  # validation loss in nats per character, as its README states them (github.com/karpathy/nanoGPT)
    "nanoGPT, CPU: 4 layers of 128, 2,000 steps of 12 x 64 characters": 1.88,
    "nanoGPT, GPU (A100): 6 layers of 384, 5,000 steps of 64 x 256 characters": 1.4697,
}
CHARACTERS = 1_115_394
TRIAL_CHARACTERS = 200_000


def text_of(data: Path | None, out: Path) -> Path:
    """The file to train on; raises UsageError where the one that was named is not there."""
    if data is None:
        path = out / "standard_library.txt"
        if not path.is_file():
            out.mkdir(parents=True, exist_ok=True)
            text = "\n\n".join(one.text for one, _ in zip(standard_library(), range(40), strict=False))
            path.write_text("".join(c for c in text if c.isascii())[:TRIAL_CHARACTERS])
        print("no --data: a trial on Python's standard library; its loss is not that of Shakespeare")
        return path
    if not data.is_file():
        raise UsageError("The text is not there.", str(data),
                         "download input.txt of char-rnn's tinyshakespeare, and give its path with --data")  # fmt: skip
    size = len(data.read_text(encoding="utf-8"))
    if size != CHARACTERS:
        print(f"{data} has {size:,} characters, Tiny Shakespeare {CHARACTERS:,}: the figures beside it are of another text")  # fmt: skip
    return data


def settings_of(args: argparse.Namespace, path: Path) -> config.Resolved[PretrainSettings]:
    steps = args.steps or (None if args.minutes else 60 if args.data is None else 2000)
    budget = f"{steps} steps" if steps else f"{args.minutes} min"
    tiny = ["context=64", "batch_tokens=512", "train.compile=false"] if args.data is None else []
    return config.load(PretrainSettings, None, [
        f"data={json.dumps(str(path))}", f"size=depth {args.depth}", f"budget={budget}", "tokenizer=characters",
        "validation_fraction=0.1", *tiny, *args.overrides,
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="input.txt of Tiny Shakespeare, or another text")
    parser.add_argument("--minutes", type=float, help="stop after so long, measuring included")
    parser.add_argument("--steps", type=int, help="stop after so many steps; default 2,000, 60 for the trial")
    parser.add_argument("--depth", type=int, help="layers; default 6 (2.4 M parameters), 2 for the trial")
    parser.add_argument("--out", type=Path, default=Path("out/shakespeare"))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as `ownlm pretrain --keys` lists")
    args = parser.parse_args()
    if args.steps and args.minutes:
        parser.error("--steps and --minutes exclude each other")
    args.depth = args.depth or (2 if args.data is None else 6)
    try:
        resolved = settings_of(args, text_of(args.data, args.out))
        found = pretrain(
            resolved.value, resolved.origins, args.out, lambda text: print(text, file=sys.stderr)
        )
    except UsageError as error:
        sys.exit(f"{error.what} {error.values}\n{error.fix}")
    sample = (args.out / "samples" / f"step-{found['num_steps']:06d}.txt").read_text()
    loss = float(found["validation_loss"])
    print(f"\n{sample}\n{found['parameters']:,} parameters, {found['num_steps']:,} steps of {found['tokens'] // found['num_steps']:,} characters")  # fmt: skip
    for name, value in {"this run": loss, **NANOGPT}.items():
        print(f"{value:8.4f} nats per character = {value / math.log(2):.3f} bits   {name}")
    facts = {**found, "data": str(args.data or "standard library"), "nanogpt": NANOGPT, "sample": sample}
    (args.out / "shakespeare.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
