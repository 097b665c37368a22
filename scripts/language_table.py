"""Make src/ownlm/data/language/languages.safetensors from the n-gram frequencies of the lingua library.

    pip download --no-deps lingua-language-detector==1.3.5 && unzip lingua_language_detector-1.3.5-py3-none-any.whl
    pip install brotli
    python scripts/language_table.py lingua/language-models src/ownlm/data/language/languages.safetensors

The models of lingua (Apache-2.0, Peter M. Stahl) hold P(last letter | letters before) as fractions per language; a
product along the prefixes gives the frequency of an n-gram among those of its length. Kept are, per length, the grams
with the largest sum over languages of f * (weight - mean weight over the languages): those that are both frequent
and telling. Of two grams that need one slot the better one stays. Takes about a minute and 1 GB.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ownlm.data.language import grams
from ownlm.data.language.table import SLOT_BITS, STEPS
from ownlm.runtime.files import write_atomic

NAMES = ("unigrams", "bigrams", "trigrams", "quadrigrams")
FLOORS = (1e-4, 2e-5, 4e-6, 4e-6)  # frequency that a gram is given where a language does not have it
KEPT = (4_000, 20_000, 40_000, 40_000)
RAREST = (0.0, 0.0, 2e-6, 2e-6)
IMPORTANCE = (0.5, 0.5, 1.0, 1.5)  # of a gram by its length: short ones repeat what the long ones say


def frequencies(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per order: hashes uint64 [G] and relative frequencies float64 [G] of one language."""
    brotli = importlib.import_module("brotli")
    before: dict[str, float] = {"": 1.0}
    found = []
    for order, name in enumerate(NAMES):
        now: dict[str, float] = {}
        path = folder / f"{name}.json.br"
        fractions = json.loads(brotli.decompress(path.read_bytes()))["ngrams"] if path.exists() else {}
        for fraction, listed in fractions.items():
            above, below = map(int, fraction.split("/"))
            for gram in listed.split(" "):
                value = before.get(gram[:-1], 0.0) * above / below
                if value > RAREST[order]:
                    now[gram] = value
        text = "".join(now)
        codes, _ = grams.codes_of(text.lower())
        if len(codes) != len(now) * (order + 1):
            raise SystemExit(f"{path}: a gram changes its length when lower-cased")
        found.append((_hashed(codes.reshape(len(now), order + 1)), np.array(list(now.values()))))
        before = now
    return found


def _hashed(rows: np.ndarray) -> np.ndarray:
    """The hash of each row of letters, as grams.hashes has it for that order."""
    if not len(rows):
        return np.zeros(0, dtype=np.uint64)
    order = rows.shape[1]
    flat = np.concatenate([rows, np.zeros((len(rows), 1), rows.dtype)], axis=1).ravel()
    return grams.hashes(flat, flat != 0)[order - 1]


def order_rows(
    order: int, languages: list[list[tuple[np.ndarray, np.ndarray]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kept grams of one order, best first: hash [K], weights [K, L], merit [K]; and the expected weight [L]."""
    hashes = np.concatenate([one[order][0] for one in languages])
    frequency = np.concatenate([one[order][1] for one in languages])
    language = np.repeat(np.arange(len(languages)), [len(one[order][0]) for one in languages])
    distinct, row = np.unique(hashes, return_inverse=True)
    weights = np.zeros((len(distinct), len(languages)), dtype=np.float32)
    weights[row, language] = np.log1p(frequency / FLOORS[order])
    merit = np.bincount(row, frequency * (weights[row, language] - weights[row].mean(axis=1)))
    best = np.argsort(-merit, kind="stable")[: KEPT[order]]
    weights *= IMPORTANCE[order]
    share = np.zeros_like(weights)
    share[row, language] = frequency
    expected = (share[best] * weights[best]).sum(axis=0)
    return distinct[best], weights[best], merit[best], expected


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    folders = sorted(path for path in given.models.iterdir() if (path / "unigrams.json.br").exists())
    languages = [frequencies(folder) for folder in folders]
    parts = [order_rows(order, languages) for order in range(grams.ORDERS)]
    upper = (np.concatenate([part[0] for part in parts]) >> np.uint64(32)).astype(np.uint32)
    ranked = np.argsort(-np.concatenate([part[2] for part in parts]), kind="stable")
    _, first = np.unique(upper[ranked] >> np.uint32(32 - SLOT_BITS), return_index=True)
    kept = ranked[np.sort(first)]
    weights = np.round(np.concatenate([part[1] for part in parts])[kept] * STEPS).clip(0, 255)
    quantised = weights.astype(np.uint8)
    gram, language = np.nonzero(quantised)
    tensors = {
        "keys": upper[kept],
        "counts": np.bincount(gram, minlength=len(kept)).astype(np.uint8),
        "language": language.astype(np.uint8),
        "weight": quantised[gram, language],
        "expected": np.sum([part[3] for part in parts], axis=0).astype(np.float32),
    }
    facts = {
        "languages": json.dumps([folder.name for folder in folders]),
        "source": "n-gram models of lingua-language-detector 1.3.5, Peter M. Stahl",
        "licence": "Apache-2.0",
    }
    write_atomic(given.out, save(tensors, facts))
    sys.stdout.write(
        f"{len(folders)} languages, {len(kept)} grams, {len(language)} weights, {given.out.stat().st_size} bytes"
        "\n"
    )


if __name__ == "__main__":
    main()
