"""Trains the name model: python -m ownlm.data.privacy.training FOLDER [--out FILE] [--rounds N]

FOLDER holds the CoNLL files of WNUT17, wikigold and the Broad Twitter Corpus (see NOTICE); to them come made sentences
(sentences.py). Averaged structured perceptron (Collins 2002); what a word *is* (its form and lists) is hidden for a third
of the names at random, so that the model leans on shape and context; averages are rounded to int8.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xxhash
from safetensors.numpy import save_file

from ownlm.data.privacy import features
from ownlm.data.privacy.gazetteer import GROUPS
from ownlm.data.privacy.names import LABELS, WEIGHTS, NameModel, viterbi
from ownlm.data.privacy.sentences import Maker
from ownlm.runtime import seed

Example = tuple[list[str], list[int]]  # words and label indices
_TAGS = {
    "PER": "PERSON",
    "person": "PERSON",
    "LOC": "GPE",
    "location": "GPE",
    "ORG": "ORGANIZATION",
    "corporation": "ORGANIZATION",
    "group": "ORGANIZATION",
}
_GROUP_WORDS = frozenset(GROUPS)
FILES = ("wikigold.part", "wnut17.train", "wnut17.dev", "btc.abeg")


def conll(path: Path) -> Iterator[Example]:
    """Sentences of one file; tags other than people, places and organisations become O or NRP."""
    words: list[str] = []
    labels: list[int] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            columns = line.split()
            if len(columns) < 2:
                if words:
                    yield words, labels
                words, labels = [], []
                continue
            tag = columns[-1].partition("-")[2]
            label = _TAGS.get(tag, "O")
            if columns[0] in _GROUP_WORDS and label in ("O", "GPE"):
                label = "NRP"
            for word in re.findall(features.TOKEN, columns[0]):
                words.append(word)
                labels.append(LABELS.index("O" if columns[0][0] in "@#" else label))
    if words:
        yield words, labels


def made(maker: Maker, count: int) -> Iterator[Example]:
    for _ in range(count):
        words: list[str] = []
        labels: list[int] = []
        for text, label in maker.sentence():
            found = features.TOKEN.findall(text)
            words += found
            labels += [LABELS.index(label)] * len(found)
        yield words, labels


def common_words(texts: Iterator[str]) -> np.ndarray:
    """Sorted uint32 hashes of words seen at least three times and mostly in small letters."""
    small: Counter[str] = Counter()
    large: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r"[^\W\d_]{2,}", text):
            (small if word.islower() else large)[word.lower()] += 1
    kept = [word for word, n in small.items() if n >= 3 and n > large[word]]
    return np.unique(np.array([xxhash.xxh32_intdigest(word.encode()) for word in kept], np.uint32))


class Perceptron:
    """Sums in float32: `weights` now, `late` weighted by the step, so that weights - late / steps is the average."""

    def __init__(self) -> None:
        shape = (1 << features.BITS, len(LABELS))
        self.weights, self.late = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.follow, self.late_follow = (np.zeros((len(LABELS), len(LABELS)), np.float32) for _ in range(2))
        self.steps = 1

    def learn(self, rows: np.ndarray, gold: np.ndarray) -> int:
        """One sentence; returns the number of wrong tokens."""
        scores = self.weights[rows].sum(axis=1)
        # A margin of one, so that what is right but only just is still pushed.
        scores += 1.0
        scores[np.arange(len(gold)), gold] -= 1.0
        path = viterbi(scores, self.follow)
        wrong = np.flatnonzero(path != gold)
        for place in wrong:
            for label, sign in ((gold[place], 1.0), (path[place], -1.0)):
                self.weights[rows[place], label] += sign
                self.late[rows[place], label] += sign * self.steps
        if len(wrong):
            for labels, sign in ((gold, 1.0), (path, -1.0)):
                np.add.at(self.follow, (labels[:-1], labels[1:]), sign)
                np.add.at(self.late_follow, (labels[:-1], labels[1:]), sign * self.steps)
        self.steps += 1
        return len(wrong)

    def average(self) -> tuple[np.ndarray, np.ndarray]:
        return self.weights - self.late / self.steps, self.follow - self.late_follow / self.steps


def train(examples: list[Example], common: np.ndarray, rounds: int, random: np.random.Generator) -> NameModel:
    blank = NameModel(np.zeros((0, 0)), np.zeros((0, 0)), frozenset(common.tolist()))
    hashed = [(blank.hashes(words), np.array(labels)) for words, labels in examples if words]
    learner = Perceptron()
    hidden = np.array([features.LOWER, features.FORM, features.LISTS, features.PREFIX3, features.SUFFIX4])
    for number in range(rounds):
        wrong = 0
        for index in random.permutation(len(hashed)):
            hashes, gold = hashed[index]
            draw = random.random(len(hashes)) < 0.35
            entity = draw & (gold != 0)
            if entity.any():
                hashes = hashes.copy()
                hashes[np.flatnonzero(entity)[:, None], hidden] = 11
            wrong += learner.learn(features.rows(hashes), gold)
        sys.stderr.write(f"round {number + 1}: {wrong} wrong tokens\n")
    weights, follow = learner.average()
    scale = 127 / np.quantile(np.abs(weights[weights != 0]), 0.9995)
    table = np.clip(np.rint(weights * scale), -127, 127).astype(np.int8)
    return NameModel(table, np.rint(follow * scale).astype(np.int32), blank.common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--text", type=Path, action="append", default=[], help="plain text for the list of common words"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--made", type=int, default=24000)
    options = parser.parse_args()
    real = [example for name in FILES for example in conll(options.folder / f"{name}.conll.gz")]
    invented = list(made(Maker(seed.generator(0, "privacy", "sentences")), options.made))
    texts = [" ".join(words) for words, _ in real]
    for path in options.text:
        data = path.read_bytes()
        texts.append((gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8"))
    common = common_words(iter(texts))
    model = train(real + invented, common, options.rounds, seed.generator(0, "privacy", "training"))
    save_file({"weights": model.weights, "follow": model.follow, "common": common}, options.out)
    sys.stderr.write(
        f"{len(real)} real and {len(invented)} made sentences, {len(common)} words -> {options.out}\n"
    )


if __name__ == "__main__":
    main()
