"""The embedding before the first step: word vectors in closed form, from counts of neighbouring tokens.

A short run spends most of its time learning which tokens are alike; two seconds of counting say it at once. The
vectors factorise the positive pointwise mutual information of tokens at most `window` apart, which is what skip-gram
with negative sampling approximates (Levy & Goldberg 2014; the 0.75 power of the context counts: Levy, Goldberg & Dagan
2015, section 3). Eigenvectors by randomised subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4).

Letters: V vocabulary, D model width, N counted tokens.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

WINDOW = 2  # tokens to either side, weighed by 1/distance
POWER = 0.75  # of the context counts: rare contexts say less
ITERATIONS = 4
OVERSAMPLING = 16  # columns beyond D in the subspace
MOST_TOKENS = 10_000_000  # counted at most; memory is about 100 bytes per token


def initialize(embedding: nn.Parameter, tokens: np.ndarray, seed: int, scale: float) -> int:
    """Overwrite the rows of tokens that occur, [V, D] float32 with standard deviation `scale`; others stay as they are.

    tokens: ids [N] of the training text. Deterministic in (tokens, seed). Returns the number of rows written, 0
    when the text has fewer different tokens than the subspace needs.
    """
    vocab_size, width = embedding.shape
    counted = np.asarray(tokens[:MOST_TOKENS]).astype(np.int64)
    seen = np.bincount(counted, minlength=vocab_size) > 0  # [V]
    if int(seen.sum()) <= width + OVERSAMPLING:
        return 0
    vectors = factorize(information(counted, vocab_size), width, seed)  # [V,D]
    rows = torch.from_numpy(seen)
    chosen = vectors[rows] - vectors[rows].mean(dim=0)
    with torch.no_grad():
        embedding[rows] = chosen * (scale / chosen.std())
    return int(seen.sum())


def information(tokens: np.ndarray, vocab_size: int) -> Tensor:
    """Positive pointwise mutual information [V, V], sparse and symmetric in which pairs it holds."""
    keys, weights = [], []
    for distance in range(1, WINDOW + 1):
        left, right = tokens[:-distance], tokens[distance:]
        for pairs in (left * vocab_size + right, right * vocab_size + left):
            unique, counts = np.unique(pairs, return_counts=True)
            keys.append(unique)
            weights.append(counts / distance)
    unique, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    together = np.bincount(inverse, weights=np.concatenate(weights))  # [pairs]
    first, second = unique // vocab_size, unique % vocab_size
    alone = np.bincount(first, weights=together, minlength=vocab_size)  # [V]
    context = alone**POWER / (alone**POWER).sum()  # [V]
    value = np.log(together / (alone[first] * context[second]))
    kept = value > 0
    index = torch.from_numpy(np.stack([first[kept], second[kept]]))
    size = (vocab_size, vocab_size)
    numbers = torch.from_numpy(value[kept]).float()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        rows = torch.sparse_coo_tensor(index, numbers, size, is_coalesced=True, check_invariants=False)
        return rows.to_sparse_csr()


def factorize(matrix: Tensor, width: int, seed: int) -> Tensor:
    """[V, D]: the leading eigenvectors, each times the root of its eigenvalue (negative ones give zero)."""
    source = torch.Generator().manual_seed(seed)
    basis = torch.randn(matrix.shape[0], width + OVERSAMPLING, generator=source)  # [V,D+16]
    for _ in range(ITERATIONS):
        basis, _ = torch.linalg.qr(matrix @ basis)
    small = basis.T @ (matrix @ basis)  # [D+16,D+16]
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    leading = values.argsort(descending=True)[:width]
    return (basis @ vectors[:, leading]) * values[leading].clamp(min=0).sqrt()
