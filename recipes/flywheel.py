"""The flywheel: a trained model chooses the data of the next round, and answers people rated become training rows.

    python recipes/flywheel.py --data corpus.txt --log out/assistant/feedback.jsonl --out out/flywheel

Round 1 trains on a corpus of which --noise percent are damaged (characters drawn blindly). Its model scores every
document (pipeline/rescore.py), the step `by_score` keeps --keep percent, and round 2 trains a new model on them for as
many steps. The control keeps as many documents blindly. What counts is bits per byte on clean held-out text.

Without --log a small one is made, to show what happens to it: pipeline/flywheel.py takes the ratings with consent that
are up or corrected, replaces personal data, counts every refusal, and forgets who withdraws.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ownlm.data.filters.by_score import ByScore
from ownlm.data.flow.step import run_alone
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.pipeline import flywheel
from ownlm.pipeline.rescore import scored
from ownlm.records import Document
from ownlm.runtime.seed import generator
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

BOS, VOCAB = 256, 257
DEFAULTS = {
    "steps": 150,
    "rows": 16,
    "context": 64,
    "width": 64,
    "piece": 300,
    "documents": 1500,
    "noise": 40,
    "keep": 60,
}
LOG = [
    {"id": "a1", "question": "How do I reset it?", "answer": "Hold the key.", "rating": "up", "consent": True},
    {"id": "a2", "question": "Where are you?", "answer": "In Bern.", "rating": "up"},
    {"id": "a3", "question": "Reach me at ann@example.org", "answer": "No.", "rating": "down", "consent": True,
     "correction": "I will write to ann@example.org."},
    {"id": "a4", "question": "Is it safe?", "answer": "Yes.", "rating": "down", "consent": True},
    {"id": "a5", "question": "Who made it?", "answer": "We did.", "rating": "up", "consent": True},
]  # fmt: skip


def encode(texts: Sequence[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def corpus(args: argparse.Namespace, seed: int) -> tuple[list[Document], list[Document]]:
    """(documents to learn from, clean held-out ones); meta says which are damaged, which nothing but the table reads."""
    random = generator(seed, "flywheel")
    text = (args.data or Path(argparse.__file__)).read_text(encoding="utf-8")
    pieces = [text[n : n + args.piece] for n in range(0, len(text), args.piece)]
    pieces = [pieces[n] for n in random.permutation(len(pieces))[: args.documents]]
    held, used = pieces[: max(2, len(pieces) // 10)], pieces[max(2, len(pieces) // 10) :]
    found, letters = [], sorted(set(text))
    for number, piece in enumerate(used):
        damaged = bool(random.random() < args.noise / 100)
        piece = "".join(random.choice(letters, len(piece))) if damaged else piece
        found.append(Document(f"{seed}-{number}", piece, "corpus", meta={"damaged": damaged}))
    return found, [Document(f"held-{n}", piece, "held") for n, piece in enumerate(held)]


def trained(documents: list[Document], args: argparse.Namespace, seed: int) -> Decoder:
    w = args.width
    model = Decoder(ModelConfig(VOCAB, w, 2 * w, 2, w // 16, w // 16, 16, args.context), seed)
    order = generator(seed, "order").permutation(len(documents))
    tokens = np.concatenate([[BOS, *documents[n].text.encode()] for n in order])
    config = TrainConfig(args.steps, seed=seed, compile=False, precision="float32", checkpoint_seconds=1e9)
    with tempfile.TemporaryDirectory() as folder:
        batches = ShardBatches(tokens, args.context, args.rows, seed)
        for _ in train(model, batches, config, Path(folder), notice=lambda text: None):
            pass
    return model


def measured(model: Decoder, held: list[Document], context: int) -> float:
    """Bits per byte of the held-out documents."""
    found = list(scored(held, model, encode, BOS, context))
    sizes = [len(d.text.encode()) for d in found]
    return round(sum(d.meta["model_bits"] * n for d, n in zip(found, sizes, strict=True)) / sum(sizes), 4)


def rounds(args: argparse.Namespace, seed: int) -> list[dict]:
    documents, held = corpus(args, seed)
    first = trained(documents, args, seed)
    found = list(scored(documents, first, encode, BOS, args.context))
    chosen = [
        d
        for d in run_alone(ByScore(fraction=args.keep / 100, part="lowest"), found)
        if isinstance(d, Document)
    ]
    blind = generator(seed, "blind").permutation(len(documents))[: len(chosen)]
    rows = []
    for name, data, model in (("round 1: everything", documents, first), ("round 2: model's choice", chosen, None),
                              ("control: blind choice", [documents[n] for n in sorted(blind)], None)):  # fmt: skip
        model = model or trained(data, args, seed + 1)
        rows.append({"data": name, "seed": seed, "documents": len(data),
                     "damaged": sum(bool(d.meta["damaged"]) for d in data), "bits_per_byte": measured(model, held, args.context)})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/flywheel"))
    args = parser.parse_args()
    rows_file = args.out / "rows" / "messages.jsonl"
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    log = args.log or args.out / "rows" / "log.jsonl"
    if args.log is None:
        log.write_text("".join(json.dumps(row) + "\n" for row in LOG))
    logs = flywheel.harvest(log, rows_file).as_dict()
    if args.log is None:
        logs["forgotten"] = flywheel.forget(rows_file, ["a5"])
    print(logs, flush=True)
    rows = [row for seed in args.seeds for row in rounds(args, seed)]
    for name in dict.fromkeys(row["data"] for row in rows):
        found = [row["bits_per_byte"] for row in rows if row["data"] == name]
        print(f"{name:24s} {np.mean(found):.3f} bits per byte on held-out text, seeds {found}")
    result = {"settings": vars(args), "rows": rows, "logs": logs}
    (args.out / "flywheel.json").write_text(json.dumps(result, default=str, indent=1))


if __name__ == "__main__":
    main()
