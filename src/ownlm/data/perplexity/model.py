"""A Kneser-Ney model of good text (data/ngram.py) and the perplexity of a document under it.

Perplexity is counted per 5 bytes that are not white space, about one English word, not per token: tokens differ in
length, and a page of spelled-out noise must not look fluent because each of its letters is easy. CCNet (Wenzek et al.
2020) counts per SentencePiece token, so its thresholds do not carry over; the trainer reports the percentiles of
held-out good text to choose from.

Training is in memory: about 150 bytes per token and the text itself. The file (safetensors) is read memory-mapped: all
processes of a machine share it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ownlm.data.linear import features
from ownlm.data.ngram import KneserNey
from ownlm.data.perplexity import pieces
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.runtime.files import write_atomic

FORMAT = "ownlm.perplexity.1"
UNIT = 5.0  # bytes that one perplexity step is counted over
PERCENTILES = (1, 5, 30, 50, 60, 90, 95, 99)
_HELD_OUT = 26  # of 256: about a tenth of the documents, by their SHA-256
_DTYPES: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "U64": np.dtype("<u8"), "F32": np.dtype("<f4")}


@dataclass(frozen=True, slots=True)
class Model:
    grams: KneserNey
    words: np.ndarray  # uint64 [N], hashes of the vocabulary, sorted
    report: dict[str, Any]  # counts, and percentiles of the perplexity of held-out good documents

    def perplexity(self, text: str) -> float:
        """1.0 for an empty text, never infinite. Linear time; a context does not reach across 64 KiB pieces."""
        surprise, solid = 0.0, 0
        for data in features.pieces(text):
            found, count = pieces.ids(data, self.words)
            surprise -= self.grams.log_prob(found) if len(found) else 0.0
            solid += count
        return math.exp(min(surprise * UNIT / solid, 700.0)) if solid else 1.0


def train(texts: Iterable[str], order: int = 4, most_words: int = 100_000) -> Model:
    """Raises DataError without text, UsageError for an order below 1."""
    kept: list[bytes] = []
    held_out: list[str] = []
    counted: list[np.ndarray] = []
    num_texts = 0
    for text in texts:
        num_texts += 1
        if hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] < _HELD_OUT:
            held_out.append(text)
            continue
        for data in features.pieces(text):
            kept.append(data)
            counted.append(features.word_hashes(data, *features.word_edges(data)))
    words = pieces.vocabulary(counted, most_words)
    sequences = [pieces.ids(data, words)[0] for data in kept]
    if not any(map(len, sequences)):
        raise DataError(
            "There is no text to train on.", f"{num_texts} documents", "give text that you call good"
        )
    grams = KneserNey(order).fit(sequences, pieces.FIRST_WORD + len(words))
    report = {"order": order, "documents": num_texts, "held_out": len(held_out), "words": len(words),
              "tokens": sum(map(len, sequences)), "grams": grams.num_grams}  # fmt: skip
    model = Model(grams, words, report)
    if held_out:
        values = np.percentile([model.perplexity(text) for text in held_out], PERCENTILES)
        report["percentiles"] = {str(p): round(float(v), 2) for p, v in zip(PERCENTILES, values, strict=True)}
    return model


def write(path: Path, model: Model) -> int:
    """Bytes written. 16 bytes per distinct n-gram: shares and weights are rounded to float32."""
    tensors = {"words": model.words}
    for name, tensor in model.grams.tensors().items():
        tensors[name] = tensor if name.startswith("keys") else tensor.astype(np.float32)
    facts = {"format": FORMAT, "vocab_size": model.grams.vocab_size, "report": model.report}
    data = save(tensors, {"model": json.dumps(facts, allow_nan=False)})
    write_atomic(path, data)
    return len(data)


def load(path: Path) -> Model:
    """Memory-mapped, once per process and version of the file. Raises UsageError when absent, ArtifactError if damaged."""
    try:
        facts = path.stat()
    except OSError as error:
        fix = "make one with `ownlm data train-perplexity`"
        raise UsageError("There is no model file here.", str(path), fix) from error
    return _load(path, facts.st_mtime_ns, facts.st_size)


@cache
def _load(path: Path, changed: int, size: int) -> Model:
    try:
        mapped = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        length = int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8 : 8 + length].tobytes())
        facts = json.loads(header.pop("__metadata__")["model"])
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']!r}")
        tensors = {name: _tensor(mapped[8 + length :], entry) for name, entry in header.items()}
        words = tensors.pop("words")
        grams = KneserNey.of_tensors(tensors, int(facts["vocab_size"]))
        if grams.vocab_size != pieces.FIRST_WORD + len(words):
            raise ValueError("vocabulary and n-grams differ in size")
        return Model(grams, words, dict(facts["report"]))
    except Exception as error:  # whatever is wrong with the bytes is one thing to the user
        fix = "make it again with `ownlm data train-perplexity`"
        raise ArtifactError("The perplexity model cannot be read.", f"{path}: {error}", fix) from error


def _tensor(data: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """One mapped tensor of the file, by its safetensors header entry. Raises ValueError when it lies outside."""
    first, last = entry["data_offsets"]
    dtype, (length,) = _DTYPES[entry["dtype"]], entry["shape"]
    if not 0 <= first <= last <= len(data) or last - first != length * dtype.itemsize:
        raise ValueError(f"a tensor lies at {first}..{last} of {len(data)} bytes")
    found: np.ndarray = data[first:last].view(dtype)
    return found
