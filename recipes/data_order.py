"""Does the order of the data matter? One small model, the same documents once each, five orders, several seeds.

    python recipes/data_order.py                                  Python's documentation, about 2 minutes
    python recipes/data_order.py --data corpus.txt --steps 2000 --width 192 --layers 4
    python recipes/data_order.py --orders shuffled easy-first --seeds 0 1 2 3

shuffled      documents in random order: the control
interleaved   sources in turn (folders of the library, tenths of a file), so that every stretch has the whole mix
easy-first    from the most to the least predictable document, by the bits per byte of a bigram model of the text
hard-first    the reverse ("anti-curriculum")
buckets       easy to hard in ten buckets, shuffled inside each
grouped       one source after the other: the adversary, since the model ends on a part of the data

A seed is one model, one shuffle, one choice of documents; the orders of a seed share all three. What counts is the
loss on held-out documents: the training loss follows the order. Writes JSON and a picture to --out.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ownlm.data.mix.order import make_order
from ownlm.data.pack.plan import plan_rows
from ownlm.data.pack.rows import PackedShards, Rows
from ownlm.data.shards import Shards, write_shards
from ownlm.data.stdlib import standard_library
from ownlm.data.stream.token_stream import Source, TokenStream
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.position import Rope
from ownlm.records import Document
from ownlm.runtime.adapters import matplotlib as plot
from ownlm.runtime.seed import generator
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

ORDERS = {
    "shuffled": {"order": "shuffled"}, "interleaved": {"order": "interleaved"},
    "easy-first": {"order": "sorted", "by": "bits"}, "hard-first": {"order": "sorted", "by": "bits", "hardest_first": True},
    "buckets": {"order": "bucketed", "by": "bits"}, "grouped": {"order": "as-stored"},
}  # fmt: skip
DEFAULTS = {"steps": 150, "width": 64, "layers": 2, "rows": 16, "context": 128, "piece": 1000}
BOS, VOCAB, GLANCES, HELD = 256, 257, 10, 0.1


def corpus(path: Path | None, piece: int) -> list[Document]:
    """Documents of `piece` characters, sources together; meta: collection, bits per byte of a bigram model."""
    if path:
        text = path.read_text(encoding="utf-8")
        whole = [(f"tenth {n}", text[n * len(text) // 10 : (n + 1) * len(text) // 10]) for n in range(10)]
    else:
        whole = [(d.source.split("/")[0], d.text) for d in sorted(standard_library(), key=lambda d: d.source)]
    texts = [(name, text[i : i + piece]) for name, text in whole for i in range(0, len(text), piece)]
    rows = [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for _, text in texts]
    joined = np.concatenate(rows)
    pairs = 1 + np.bincount(256 * joined[:-1] + joined[1:], minlength=1 << 16).reshape(256, 256)
    bits = -np.log2(pairs / pairs.sum(1, keepdims=True))
    return [
        Document(str(n), text, name, meta={"collection": name, "bits": float(bits[row[:-1], row[1:]].sum() / max(1, len(row)))})
        for n, ((name, text), row) in enumerate(zip(texts, rows))]  # fmt: skip


def shards(folder: str, documents: list[Document], num_tokens: int, seed: int) -> tuple[Shards, Shards]:
    """(train, held out): a random choice that fills the steps of one run, in the order of the corpus."""
    chosen = generator(seed, "choice").permutation(len(documents))
    sizes = [len(documents[number].text.encode()) + 1 for number in chosen]
    cut = max(1, int(HELD * len(chosen)))
    enough = cut + int(np.searchsorted(np.cumsum(sizes[cut:]), num_tokens)) + 1
    found = []
    for name, part in (("held", chosen[:cut]), ("train", chosen[cut:enough])):
        write_shards(Path(folder) / name, [documents[n] for n in sorted(part)], lambda texts: [
            np.frombuffer(t.encode(), np.uint8) for t in texts], BOS, VOCAB, keep_meta=["bits"])  # fmt: skip
        found.append(Shards(Path(folder) / name))
    return found[1], found[0]


def to_batch(rows: Rows) -> Batch:
    """Targets are the next tokens of the same document; the first of a document and padding are not trained on."""
    tokens = torch.from_numpy(rows.tokens.astype(np.int64))
    inside = torch.from_numpy((rows.segments[:, 1:] >= 0) & (rows.segments[:, 1:] == rows.segments[:, :-1]))
    return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].masked_fill(~inside, -100))


def stream(read: Shards, args: argparse.Namespace, order: dict, seed: int, rows: int) -> TokenStream:
    plan = plan_rows(read, "stream", args.context + 1, make_order(read, seed=seed, **order))
    return TokenStream([Source("all", PackedShards(read, plan))], rows, seed, shuffle=0)


def run(name: str, data: tuple[Shards, Shards], folder: Path, args: argparse.Namespace, seed: int) -> dict:
    """Train under one order; bits per byte on the held-out documents at GLANCES points."""
    mixer = GroupedQuery(args.width // 16, args.width // 16, 16, Rope())
    layer = Layer(mixer, FeedForward(8 * args.width // 3))
    model = Decoder(Architecture(VOCAB, args.width, (layer,) * args.layers, args.context), seed=seed)
    batches = stream(data[0], args, ORDERS[name], seed, args.rows)
    held = to_batch(stream(data[1], args, {"order": "shuffled"}, 0, 64).batch(0).rows)
    config = TrainConfig(args.steps, seed=seed, compile=False, precision="float32", checkpoint_seconds=1e9)
    curve, losses = [], []
    for record in train(model, lambda step: to_batch(batches.batch(step).rows), config, folder):
        losses.append(round(record.loss, 4))
        if record.step % max(1, args.steps // GLANCES) == 0 or record.step == args.steps:
            with torch.no_grad():
                logits = model(held.inputs).flatten(0, 1)
            nats = F.cross_entropy(logits, held.targets.flatten(), ignore_index=-100)
            curve.append((record.step, round(float(nats) / math.log(2), 4)))
    return {"order": name, "seed": seed, "epochs": round(batches.epochs_at(args.steps * args.rows)["all"], 3), "heldout_bits_per_byte": curve[-1][1],
            "curve": curve, "losses": losses}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--orders", nargs="+", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/data_order"))
    args = parser.parse_args()
    documents, rows = corpus(args.data, args.piece), []
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = shards(folder, documents, args.steps * args.rows * (args.context + 1), seed)
            for name in args.orders:
                rows.append(run(name, data, Path(folder) / name.replace("-", "_"), args, seed))
                print({k: v for k, v in rows[-1].items() if k not in ("curve", "losses")}, flush=True)
    table, curves = {}, {}
    for name in args.orders:
        mine = [row for row in rows if row["order"] == name]
        table[name] = [row["heldout_bits_per_byte"] for row in mine]
        steps, bits = np.mean([row["curve"] for row in mine], axis=0).T
        curves[name] = (steps.tolist(), bits.tolist())
        print(f"{name:12s} {np.mean(table[name]):.3f} held-out bits per byte, mean of seeds {table[name]}")
    found = json.dumps({"settings": vars(args), "heldout_bits_per_byte": table, "rows": rows}, default=str)
    (args.out / "data_order.json").write_text(found)
    plot.lines(args.out / "data_order.png", curves, title="One order each", x="step", y="bits per byte")


if __name__ == "__main__":
    main()
