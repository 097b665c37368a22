"""Small shard sets for the tests of packing and streaming."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from ownlm.data.shards import Shards, write_shards
from ownlm.records import Document

BOS, EOS, VOCAB = 256, 257, 300


def encode(texts: list[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]


def documents(count: int, seed: int = 0, longest: int = 90, **meta) -> list[Document]:
    rng = random.Random(seed)
    return [
        Document(
            f"d{seed}-{n}", "".join(rng.choices("abcdefg hij", k=rng.randint(0, longest))), f"f{n}.md",
            rng.choice(["MIT", "CC0-1.0"]), {"hardness": rng.random(), **meta},
        )
        for n in range(count)
    ]  # fmt: skip


def shards(prefix: Path, items: list[Document], eos: bool = True) -> Shards:
    write_shards(prefix, items, encode, BOS, VOCAB, eos_id=EOS if eos else None, keep_meta=["hardness"])
    return Shards(prefix)
