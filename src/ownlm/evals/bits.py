"""Bits per byte of held-out text: how many bits the model needs for each byte of a text that it never saw.

    bits per byte = - (1 / ln 2) · Σ_documents Σ_{t=1}^{n_d - 1} ln p(x_t | x_c(t), ..., x_{t-1}) / num_bytes

x_0 of a document is its BOS: given, never scored. Every other token is scored exactly once; documents never see
each other. c(t) is the start of the window in which x_t is scored. Windows of a document start at 0, stride,
2·stride, ...; the first one scores all of its predictions, each later one only those that are new (its last
`stride` ones), so that a token has `context - stride + 1` tokens or more to its left wherever the document has them
(Baevski & Auli 2019, section 4; the "sliding window" of the transformers documentation).

Independent of the tokenizer, so models, compressors and n-grams can be set side by side (baselines.py).

Letters: B windows in a batch · T time · D width · N scored positions · V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ownlm.errors import DataError, UsageError
from ownlm.evals.intervals import ratio_bootstrap

_ROWS = 4096  # logits are made for at most this many positions at once: [4096, V] float32


@dataclass(frozen=True, slots=True)
class Bits:
    """The result, with what is needed to put an interval on it."""

    bits_per_byte: float
    low: float  # 95 % bootstrap interval over documents
    high: float
    stderr: float
    nats_per_token: float
    num_tokens: int  # scored tokens: all but the BOS of each document
    num_bytes: int
    num_documents: int
    context: int
    stride: int


def bits_per_byte(
    model: Any,
    tokens: np.ndarray,
    document_starts: Sequence[int] | np.ndarray,
    num_bytes: int,
    context: int,
    stride: int,
    batch: int = 8,
    dtype: torch.dtype = torch.float32,
) -> float:
    """The number of the module's formula. See `score` for the arguments and errors."""
    return total_bits(score(model, tokens, document_starts, context, stride, batch, dtype), num_bytes)


def measure(
    model: Any,
    tokens: np.ndarray,
    document_starts: Sequence[int] | np.ndarray,
    bytes_per_document: Sequence[int] | np.ndarray,
    context: int,
    stride: int,
    batch: int = 8,
    dtype: torch.dtype = torch.float32,
) -> Bits:
    """Bits per byte with a bootstrap interval over documents (whole documents are drawn, seed 0)."""
    nats = score(model, tokens, document_starts, context, stride, batch, dtype)
    sizes = np.asarray(bytes_per_document, dtype=np.float64)
    if sizes.shape != nats.shape:
        raise DataError(
            "The byte counts do not belong to these documents.",
            f"{sizes.size} byte counts, {nats.size} documents",
            "build the shards again",
        )
    interval = ratio_bootstrap(nats / math.log(2), sizes)
    num_tokens = len(tokens) - len(nats)
    return Bits(
        interval.value, interval.low, interval.high, interval.stderr, float(nats.sum()) / num_tokens,
        num_tokens, int(sizes.sum()), len(nats), context, stride,
    )  # fmt: skip


def total_bits(nats_per_document: np.ndarray, num_bytes: int) -> float:
    """Σ nats / (ln 2 · bytes)."""
    if num_bytes <= 0:
        raise DataError(
            "There is no held-out text.", f"{num_bytes} bytes", "give more text, or a larger split"
        )
    return float(nats_per_document.sum()) / (math.log(2) * num_bytes)


def score(
    model: Any,
    tokens: np.ndarray,
    document_starts: Sequence[int] | np.ndarray,
    context: int,
    stride: int,
    batch: int = 8,
    dtype: torch.dtype = torch.float32,
) -> np.ndarray:
    """Negative log likelihood of every document in nats: float64 [number of documents].

    tokens: integer [n], documents one after the other, each BOS first; document_starts: offsets of the BOS,
    ascending, the first 0. model: `hidden(ids [B,T]) -> [B,T,D]` and `logits([N,D]) -> [N,V]`. dtype bfloat16
    runs the model under autocast; the log softmax is always float32 and sums are float64.
    Raises UsageError when 0 < stride <= context does not hold, DataError when there is nothing to score.
    """
    if not 0 < stride <= context:
        raise UsageError(
            "The stride must be between 1 and the context.",
            f"stride {stride}, context {context}",
            "use half the context",
        )
    starts = np.asarray(document_starts, dtype=np.int64)
    if len(starts) == 0 or len(tokens) <= len(starts) or starts[0] != 0:
        raise DataError(
            "There are no held-out tokens to score.",
            f"{len(tokens)} tokens in {len(starts)} documents",
            "give more text, or a larger held-out share",
        )
    windows = _windows(starts, len(tokens), context, stride)
    windows.sort(key=lambda w: w[1], reverse=True)  # equal lengths together: little padding
    nats = np.zeros(len(starts), dtype=np.float64)
    was_training = bool(getattr(model, "training", False))
    if was_training:
        model.eval()
    with torch.no_grad():
        for first in range(0, len(windows), batch):
            _score_batch(model, tokens, windows[first : first + batch], dtype, nats)
    if was_training:
        model.train()
    return nats


def _windows(starts: np.ndarray, end: int, context: int, stride: int) -> list[tuple[int, int, int, int]]:
    """(offset of the first input token, number of inputs, inputs whose prediction is not scored, document)."""
    windows = []
    stops = np.append(starts[1:], end)
    for document, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        predictions = stop - start - 1  # input t predicts token t + 1
        done = 0
        for begin in range(0, max(predictions, 1), stride):
            if done >= predictions:
                break
            length = min(context, predictions - begin)
            windows.append((start + begin, length, done - begin, document))
            done = begin + length
    return windows


def _score_batch(
    model: Any,
    tokens: np.ndarray,
    windows: list[tuple[int, int, int, int]],
    dtype: torch.dtype,
    nats: np.ndarray,
) -> None:
    """Add the batch's negative log likelihoods to `nats`. Padding is on the right, where causality hides it."""
    longest = max(window[1] for window in windows)
    ids = torch.zeros(len(windows), longest + 1, dtype=torch.int64)  # [B, T+1]
    scored = torch.zeros(len(windows), longest, dtype=torch.bool)  # [B, T]
    for row, (offset, length, skip, _) in enumerate(windows):
        ids[row, : length + 1] = torch.from_numpy(tokens[offset : offset + length + 1].astype(np.int64))
        scored[row, skip:length] = True
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    ids, scored = ids.to(device), scored.to(device)
    with _autocast(dtype, device):
        hidden = model.hidden(ids[:, :-1])[scored]  # [B,T,D] -> [N,D]
    targets = ids[:, 1:][scored]  # [N]
    loss = torch.empty(len(targets), dtype=torch.float32, device=device)
    for first in range(0, len(targets), _ROWS):
        rows = slice(first, first + _ROWS)
        with _autocast(dtype, device):
            logits = model.logits(hidden[rows])  # [<=4096, V]
        loss[rows] = F.cross_entropy(logits.float(), targets[rows], reduction="none")
    documents = np.repeat(
        [w[3] for w in windows], [w[1] - w[2] for w in windows]
    )  # row-major, as the mask is
    np.add.at(nats, documents, loss.double().cpu().numpy())


def _autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)
