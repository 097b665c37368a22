"""Train the block classifier of `ownlm.data.extract` and cross-validate it; writes its weights.json.

    python bench/extraction.py --peers PYTHON --only trafilatura readability --texts peers.json
    python bench/extraction_training.py --texts peers.json --folds 5            # per-fold figures, writes nothing
    python bench/extraction_training.py --texts peers.json --write src/ownlm/data/extract/weights.json

Labels, per block: on pages with the whole body as gold, the share of the block's words that stand in it; on pages with
segments, 1 or 0 (weight 3) where a segment of the page touches the block, else a vote of two other
extractors (weight 1). Loss: cross-entropy per block, weighted by the root of its words, plus 1 - F1 of the expected
words of the page.
Folds are drawn by host, so that no site is in both halves. Seeded; one thread; minutes.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from extraction import default_data, load_pages, scores, sequence, words

from ownlm.data.extract import extract
from ownlm.data.extract.blocks import read_blocks
from ownlm.data.extract.classifier import REACH, Weights, join, probabilities
from ownlm.data.extract.features import NAMES, features
from ownlm.data.extract.metadata import page_facts, stated_body
from ownlm.data.extract.tree import Tree
from ownlm.data.extract.write import markdown

PEERS = {"trafilatura": 0.85, "readability": 0.15}  # their votes
GOLD, SILVER = 3.0, 1.0  # weights of the labels of a page with segments
EPOCHS, BATCH, RATE, DECAY = 12, 8, 4e-3, 1e-2


@dataclass
class Example:
    set: str
    page: dict[str, Any]
    tree: Tree
    title: str
    rows: torch.Tensor  # [block, feature]
    label: torch.Tensor  # [block]
    weight: torch.Tensor  # [block]
    num_words: torch.Tensor  # [block]
    host: str


def body_labels(texts: list[list[str]], gold: str) -> tuple[list[float], list[float]]:
    wanted = words(gold)
    line = f" {' '.join(wanted)} "
    runs = set(zip(*(wanted[i:] for i in range(4)), strict=False))
    label = []
    for text in texts:
        own = list(zip(*(text[i:] for i in range(4)), strict=False))
        whole = bool(text) and f" {' '.join(text)} " in line
        label.append(1.0 if whole else sum(run in runs for run in own) / len(own) if own else 0.0)
    long = np.array([i for i, text in enumerate(texts) if len(text) >= 5 and label[i] > 0.5] or [-99])
    for index, text in enumerate(texts):  # a word or two stand in any body by chance
        if len(text) < 5 and np.abs(long - index).min() > 3:
            label[index] = 0.0
    return label, [float(bool(text)) for text in texts]


def segment_labels(
    texts: list[str], page: dict[str, Any], votes: dict[str, str]
) -> tuple[list[float], list[float]]:
    lines = {name: f" {sequence(text)} " for name, text in votes.items()}
    label, weight = [], []
    for text in texts:
        own = f" {text} "
        value, sure = sum(PEERS[name] for name in PEERS if own in lines[name]), SILVER
        for kind, truth in (("with", 1.0), ("without", 0.0)):
            for segment in page[kind]:
                part = sequence(segment)
                if part in own or (" " in text and own in f" {part} "):
                    value, sure = truth, GOLD
        label.append(value)
        weight.append(sure if text else 0.0)
    return label, weight


def examples(folder: Path, votes: dict[str, dict[str, list[str]]]) -> list[Example]:
    made = []
    for name, pages in load_pages(folder).items():
        for number, page in enumerate(pages):
            tree = read_blocks(page["html"])
            if not tree.blocks:
                continue
            title = page_facts(tree.head).get("title", "")
            texts = [words(block.text) for block in tree.blocks]
            if "gold" in page:
                label, weight = body_labels(texts, page["gold"])
            else:
                lines = [sequence(block.text) for block in tree.blocks]
                label, weight = segment_labels(
                    lines, page, {peer: votes[peer][name][number] for peer in PEERS}
                )
            host = urlsplit(page.get("url") or page["key"].replace("hard::", "http://")).netloc
            tensors = [torch.tensor(x, dtype=torch.float32) for x in (label, weight, [len(t) for t in texts])]
            rows = torch.from_numpy(features(tree, title, stated_body(tree.head)))
            made.append(Example(name, page, tree, title, rows, *tensors, ".".join(host.split(".")[-2:])))
    return made


class Net(torch.nn.Module):
    """The formula of classifier.py, with dropout on the rows and on the context."""

    def __init__(self, hidden: int, second: int, drop: float) -> None:
        super().__init__()
        self.first = torch.nn.Linear(len(NAMES), hidden)
        self.second = torch.nn.Linear(hidden * (2 * REACH + 2), second)
        self.last = torch.nn.Linear(second, 1)
        self.num_dropped = round(256 * drop)  # of 256

    def drop(self, values: torch.Tensor) -> torch.Tensor:
        """Dropout of num_dropped in 256; one random byte a value, where torch's own draws a float for each."""
        if not self.training:
            return values
        count = values.numel()
        draws = torch.randint(-(2**63), 2**63 - 1, (-(-count // 8),)).view(torch.uint8)[:count]
        keep = (draws >= self.num_dropped).view_as(values)
        return values * keep * (256 / (256 - self.num_dropped))

    def forward(self, rows: torch.Tensor, batch: Batch) -> torch.Tensor:
        hidden = torch.relu(self.first(self.drop(rows)))
        padded = torch.zeros(len(rows) + 2 * REACH * (len(batch.sizes) + 1), hidden.shape[1])
        padded = padded.index_copy(0, batch.places, hidden)
        length = len(padded) - 2 * REACH
        near = torch.cat([padded[at : at + length] for at in range(2 * REACH + 1)], 1)
        mean = batch.sums(hidden) / batch.sizes[:, None]
        context = torch.cat([near[batch.places - REACH], mean[batch.pages]], 1)
        return self.last(torch.relu(self.second(self.drop(context))))[:, 0]


class Batch:
    """Pages one after the other, with REACH rows of zeros between them."""

    def __init__(self, examples: list[Example]) -> None:
        self.rows = torch.cat([page.rows for page in examples])
        self.label = torch.cat([page.label for page in examples])
        self.weight = torch.cat([page.weight for page in examples])
        self.num_words = torch.cat([page.num_words for page in examples])
        self.sizes = torch.tensor([len(page.rows) for page in examples])
        self.pages = torch.repeat_interleave(torch.arange(len(examples)), self.sizes)
        self.places = torch.arange(len(self.rows)) + 2 * REACH * self.pages + REACH
        self.share = torch.tensor([0.5 if "gold" in page.page else 0.2 for page in examples])

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Of the rows of each page."""
        return torch.zeros(len(self.sizes), *values.shape[1:]).index_add(0, self.pages, values)


def loss_of(net: Net, batch: Batch) -> torch.Tensor:
    """Mean over the pages."""
    logits = net(batch.rows, batch)
    weight = batch.weight * torch.sqrt(batch.num_words + 1)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, batch.label, weight=weight, reduction="none"
    )
    mass = batch.num_words * batch.weight
    likely = torch.sigmoid(logits)
    both = batch.sums((likely + batch.label) * mass).clamp(min=1e-6)
    found = 2 * batch.sums(likely * batch.label * mass) / both
    return (batch.sums(entropy) / batch.sums(weight) + batch.share * (1 - found)).mean()


def fit(train: list[Example], options: argparse.Namespace, seed: int) -> Net:
    torch.manual_seed(seed)
    order = random.Random(seed)
    net = Net(options.hidden, options.second, options.drop)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    for _ in range(EPOCHS):
        pages = order.sample(train, len(train))
        for at in range(0, len(pages), BATCH):
            loss = loss_of(net, Batch(pages[at : at + BATCH]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def train_nets(train: list[Example], options: argparse.Namespace) -> list[dict[str, Any]]:
    """`nets` of weights.json: per net, name -> rounded numbers."""
    nets = []
    for seed in range(options.nets):
        net = fit(train, options, seed)
        arrays = {name: p.detach().double().numpy().round(3) for name, p in net.named_parameters()}
        nets.append({
            "first": arrays["first.weight"].T.tolist(), "first_bias": arrays["first.bias"].tolist(),
            "second": arrays["second.weight"].T.tolist(), "second_bias": arrays["second.bias"].tolist(),
            "last": arrays["last.weight"][0].tolist(), "last_bias": arrays["last.bias"].tolist(),
        })  # fmt: skip
    return nets


def texts_of(pages: list[Example], net: Weights) -> list[str]:
    made = []
    for page in pages:
        likely = probabilities(page.rows.numpy(), net)
        made.append(markdown(page.tree.blocks, np.flatnonzero(extract.decide(page.tree, likely)).tolist()))
    return made


def report(what: str, pages: list[Example], texts: list[str]) -> None:
    for name in dict.fromkeys(page.set for page in pages):
        chosen = [(text, page.page) for text, page in zip(texts, pages, strict=True) if page.set == name]
        rated = scores(name, [text for text, _ in chosen], [page for _, page in chosen])
        print(json.dumps({"what": what, "set": name, "num_pages": len(chosen), **rated}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--texts", type=Path, required=True, help="what the peers make of every page")
    parser.add_argument("--folds", type=int, default=0, help="cross-validate over that many parts")
    parser.add_argument("--nets", type=int, default=4, help="nets whose logits are averaged")
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--second", type=int, default=16)
    parser.add_argument("--drop", type=float, default=0.35)
    parser.add_argument("--write", type=Path, help="train on every page and write the weights there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pages = examples(options.data, json.loads(options.texts.read_text("utf-8")))
    if options.folds:
        hosts = sorted({page.host for page in pages})
        random.Random(1).shuffle(hosts)
        fold = {host: index % options.folds for index, host in enumerate(hosts)}
        texts = {}
        for number in range(options.folds):
            held = [page for page in pages if fold[page.host] == number]
            net = join(train_nets([p for p in pages if fold[p.host] != number], options))
            made = texts_of(held, net)
            texts.update((id(page), text) for page, text in zip(held, made, strict=True))
            report(f"fold {number}", held, made)
        report("all folds, each page held out once", pages, [texts[id(page)] for page in pages])
    if options.write:
        nets = train_nets(pages, options)
        value = {"features": list(NAMES), "nets": nets}
        options.write.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")
        report("all pages, also trained on", pages, texts_of(pages, join(nets)))


if __name__ == "__main__":
    main()
