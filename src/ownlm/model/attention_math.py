"""The mathematics of attention: temperature and entropy, the softmax's Jacobian, gradients by hand, variance, cost.

Letters: B batch, T queries, L keys, C head width, n entries of a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.errors import UsageError
from ownlm.model.attention.flash import Traffic, flash_traffic, standard_traffic
from ownlm.model.attention.scaled_dot_product import attention, entropy
from ownlm.runtime.adapters.matplotlib import figure, lines


def random_scores(num_queries: int, num_keys: int, head_dim: int, seed: int = 0) -> Tensor:
    """q k^T / sqrt(C) of standard normal queries and keys: float64 [num_queries, num_keys]."""
    generator = torch.Generator().manual_seed(seed)
    q, k = (
        torch.randn(n, head_dim, generator=generator, dtype=torch.float64) for n in (num_queries, num_keys)
    )
    scores: Tensor = q @ k.T * head_dim**-0.5
    return scores


def given_scores(scores: Sequence[float]) -> Tensor:
    """Of one query: float64 [1, n]. Raises UsageError where one is no finite number."""
    if not scores or not all(map(math.isfinite, scores)):
        raise UsageError("Scores are finite numbers.", str(list(scores)), "correct them")
    return torch.tensor([scores], dtype=torch.float64)


def entropy_by_temperature(scores: Tensor, temperatures: Sequence[float]) -> Tensor:
    """Mean entropy in nats of softmax(scores / temperature): scores [..., n] -> float64 [len(temperatures)].

    It rises with the temperature (its derivative is variance / temperature^3), from log of the number of equal maxima
    to log n. Raises UsageError for a temperature that is not positive.
    """
    if not temperatures or not all(0 < t < math.inf for t in temperatures):
        raise UsageError("A temperature is a positive number.", str(list(temperatures)), "correct them")
    # The maximum is taken off first: scores / 1e-6 would otherwise lose their differences.
    centered = scores.double() - scores.double().amax(-1, keepdim=True)
    # + 0.0: the entropy of one sure key is 0, not -0.
    return torch.stack([entropy((centered / t).softmax(-1)).mean() for t in temperatures]) + 0.0


def draw_entropy(scores: Tensor, temperatures: Sequence[float], path: Path | str) -> None:
    """The curve of `entropy_by_temperature` and its limit log n as a picture (SVG, PNG, PDF).

    Raises MissingDependency without matplotlib."""
    curve = entropy_by_temperature(scores, temperatures).tolist()
    limit = math.log(scores.shape[-1])
    x = list(temperatures)
    lines(path, {"entropy": (x, curve), "log n": (x, [limit] * len(x))}, title="Entropy of attention by temperature",
          x="temperature", y="nats", log="x")  # fmt: skip


def draw_heads(weights: Tensor, path: Path | str) -> None:
    """weights [H, T, L] of one text: the mean weight by distance, and each head's entropy by position, as a picture.

    Raises MissingDependency without matplotlib."""
    if weights.ndim != 3:
        raise UsageError("Draw the heads of one text.", f"weights {list(weights.shape)}", "give [H, T, L]")
    w = weights.detach().double().cpu()
    T, L = w.shape[1:]
    by_distance = [float(w.diagonal(L - T - d, 1, 2).mean()) for d in range(T)]
    with figure(path, (10.0, 4.0), columns=2) as axes:
        axes[0].plot(range(T), by_distance)
        axes[0].set(title="Mean weight by distance", xlabel="tokens back", ylabel="weight")
        for h, head in enumerate(entropy(w).tolist()):
            axes[1].plot(range(T), head, label=f"head {h}")
        axes[1].set(title="Entropy by position", xlabel="position", ylabel="nats")
        axes[1].legend(fontsize=7)


def softmax_jacobian(p: Tensor) -> Tensor:
    """d p_i / d s_j = p_i (delta_ij - p_j): p [..., n] -> [..., n, n]."""
    return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]


class Gradients(NamedTuple):
    q: Tensor
    k: Tensor
    v: Tensor


def attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, mask: Tensor | None = None
) -> Gradients:
    """By hand, of `attention` with scale C ** -0.5: q [..., T, C], k and v [..., L, C], grad [..., T, C].

    dv = p^T g; dp = g v^T; ds = J dp = p * (dp - sum_j p_j dp_j), the Jacobian never formed; dq = ds k / sqrt(C);
    dk = ds^T q / sqrt(C).
    """
    _, p = attention(q, k, v, mask)  # [...,T,L]
    dp = grad @ v.transpose(-1, -2)
    ds = p * (dp - (p * dp).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
    return Gradients(ds @ k, ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ grad)


def dot_product_variance(head_dim: int, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Measured variance of q . k for standard normal q and k, plain and divided by sqrt(C): near (C, 1)."""
    if head_dim < 1 or samples < 2:
        raise UsageError("A variance needs samples of some width.", f"head_dim = {head_dim}, samples = {samples}", "give more")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, samples, head_dim, generator=generator, dtype=torch.float64)
    products = (q * k).sum(-1)
    return float(products.var()), float((products * head_dim**-0.5).var())


def fast_memory_traffic(
    T: int, C: int, fast_numbers: int, *, causal: bool = False
) -> tuple[Traffic, Traffic]:
    """(standard, flash) traffic of one head with T keys when the fast memory holds `fast_numbers` numbers.

    Tiles as arXiv:2205.14135, algorithm 1: M / 4C keys, min(M / 4C, C) queries. Theorem 2: standard Theta(T C + T^2),
    flash Theta(T^2 C^2 / M).  Our loop keeps queries outside, so its larger tile is that of the queries.
    """
    large = fast_numbers // (4 * C)
    if large < 1:
        raise UsageError("The fast memory cannot hold one row each of q, k, v and the result.", f"{fast_numbers} numbers, C = {C}", f"at least {4 * C}")  # fmt: skip
    small = min(large, C)
    return standard_traffic(T, T, C), flash_traffic(T, T, C, causal=causal, block_q=large, block_k=small)
