"""What any model has to beat, in the same unit: bits per byte of the held-out text.

xz, alone:        8 · |xz(heldout)| / bytes.                      Knows nothing but the text itself.
xz, conditional:  8 · (|xz(train + heldout)| - |xz(train)|) / bytes.  Has read the same training text. Conditional
                  compression length, as in Cilibrasi & Vitányi 2005, with xz's 64 MiB window.
Kneser-Ney:       5-gram model over the same tokens (Chen & Goodman 1998), trained on the same training shards;
                  its nats are divided by the same bytes. The BOS of a document is given, as for the model.
"""

from __future__ import annotations

import lzma
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ownlm.data.ngram import KneserNey
from ownlm.errors import DataError

XZ_PRESET = 9 | lzma.PRESET_EXTREME
XZ_WINDOW = 64 * 2**20  # bytes that `xz -9` can look back


@dataclass(frozen=True, slots=True)
class Baseline:
    """One baseline; `note` says what a reader must know to compare it fairly."""

    name: str
    bits_per_byte: float
    num_bytes: int  # held-out bytes
    seconds: float
    note: str = ""


def xz(train: bytes, heldout: bytes) -> list[Baseline]:
    """Both xz baselines. Only the last 64 MiB of `train` can help xz; what is left out is said in the note."""
    if not heldout:
        raise DataError("There is no held-out text.", "0 bytes", "give more text, or a larger held-out share")
    room = max(0, XZ_WINDOW - len(heldout))
    used = train[-room:] if len(train) > room else train
    note = f"trained on {len(used)} of {len(train)} training bytes"
    if len(used) < len(train):
        note += " (the last ones: xz -9 looks back 64 MiB)"
    started = time.perf_counter()
    alone = _xz_size(heldout)
    middle = time.perf_counter()
    conditional = _xz_size(used + heldout) - _xz_size(used)
    ended = time.perf_counter()
    bits = 8 / len(heldout)
    return [
        Baseline("xz", alone * bits, len(heldout), middle - started, "knows only the held-out text itself"),
        Baseline("xz_conditional", conditional * bits, len(heldout), ended - middle, note),
    ]


def _xz_size(data: bytes) -> int:
    """Size of what `xz -9e` writes."""
    return len(lzma.compress(data, preset=XZ_PRESET))


def join(texts: Iterable[str]) -> bytes:
    """The held-out (or training) text as one piece: UTF-8, nothing between documents, as bytes are counted."""
    return b"".join(text.encode("utf-8") for text in texts)


def kneser_ney(
    train: Iterable[np.ndarray],
    heldout: Iterable[np.ndarray],
    num_bytes: int,
    vocab_size: int,
    max_train_tokens: int = 10_000_000,
) -> Baseline:
    """Fit on training documents, score held-out ones: id arrays, each BOS first (`split_documents` cuts shards).

    The BOS is taken off on both sides: the n-gram model has its own boundary, and nobody is asked to predict it.
    Documents beyond `max_train_tokens` are left out and the note says so (about 2 GB of memory at 10 million).
    """
    started = time.perf_counter()
    used, left_out = [], 0
    total = 0
    for ids in train:
        if total + len(ids) - 1 > max_train_tokens:
            left_out += 1
            continue
        used.append(ids[1:])
        total += len(ids) - 1
    model = KneserNey(order=5).fit(used, vocab_size)
    nats = -sum(model.log_prob(ids[1:]) for ids in heldout if len(ids) > 1)
    note = f"trained on {total} tokens in {len(used)} documents"
    if left_out:
        note += f"; {left_out} documents left out beyond {max_train_tokens} tokens"
    seconds = time.perf_counter() - started
    return Baseline("kneser_ney_5gram", nats / (math.log(2) * num_bytes), num_bytes, seconds, note)


def split_documents(tokens: np.ndarray, document_starts: np.ndarray) -> Iterator[np.ndarray]:
    """Shard tokens [n] cut at the documents' BOS offsets."""
    stops = [*document_starts[1:], len(tokens)]
    for start, stop in zip(document_starts, stops, strict=True):
        yield tokens[int(start) : int(stop)]
