"""Datamodels: which examples matter, learned from models trained on random subsets (Ilyas et al. 2022, arXiv:2202.00622).

Train many models, each on a random part of the examples; then regress a query's loss on who was in. The honest but dear
method, and the measure of the cheap ones: the linear datamodeling score (LDS, Park et al. 2023, section 2) of any
scores is the rank correlation between the losses that they foretell for held-out subsets and the real ones.

Letters: M subsets (models), N examples, Q queries.
"""

from __future__ import annotations

import numpy as np

from ownlm.errors import UsageError
from ownlm.runtime.seed import generator

GRID = 12  # penalties tried between the smallest that keeps nothing and a thousandth of it


def subsets(num_examples: int, num_subsets: int, share: float = 0.5, seed: int = 0) -> np.ndarray:
    """[M, N] bool: each row has round(share * N) examples, in random."""
    if not 0 < share < 1:
        raise UsageError(
            "A subset is a part of the examples.", f"share = {share}", "choose it between 0 and 1"
        )
    size = max(1, round(share * num_examples))
    masks = np.zeros((num_subsets, num_examples), bool)
    for row in range(num_subsets):
        masks[row, generator(seed, "subset", row).choice(num_examples, size, replace=False)] = True
    return masks


def fit(masks: np.ndarray, losses: np.ndarray, seed: int = 0) -> np.ndarray:
    """masks [M, N], losses [M, Q] of the models on the queries -> scores [Q, N]: positive lowers the query's loss.

    One lasso per query; its penalty is the one that foretells a held-out fifth of the models best.
    """
    num = len(masks)
    if num < 10 or losses.shape[0] != num:
        raise UsageError(
            "Datamodels need models.", f"{num} subsets, {losses.shape[0]} losses", "at least 10 of both"
        )
    order = generator(seed, "datamodels").permutation(num)
    held, used = order[: num // 5], order[num // 5 :]
    inside = masks.astype(np.float64)
    scores = np.zeros((losses.shape[1], masks.shape[1]))
    for q in range(losses.shape[1]):
        best, penalty = np.inf, 0.0
        mean = inside[used].mean(0)
        top = np.abs((inside[used] - mean).T @ (losses[used, q] - losses[used, q].mean())).max() / len(used)
        start = np.zeros(masks.shape[1])
        for step in range(GRID):
            trial = top * 10 ** (-3 * step / (GRID - 1))
            start = lasso(inside[used], losses[used, q], trial, start)
            foretold = (inside[held] - mean) @ start + losses[used, q].mean()
            error = float(((foretold - losses[held, q]) ** 2).mean())
            if error < best:
                best, penalty = error, trial
        scores[q] = -lasso(inside, losses[:, q], penalty)
    return scores


def lasso(x: np.ndarray, y: np.ndarray, penalty: float, start: np.ndarray | None = None, rounds: int = 100) -> np.ndarray:  # fmt: skip
    """argmin |y - a - x w|^2 / 2M + penalty |w|_1 by coordinate descent (Friedman et al. 2010); a is not penalised."""
    x, y = x - x.mean(0), y - y.mean()
    w = np.zeros(x.shape[1]) if start is None else start.copy()
    sizes = (x**2).mean(0)
    rest = y - x @ w
    for _ in range(rounds):
        moved = 0.0
        for n in np.flatnonzero(sizes > 0):
            pull = x[:, n] @ rest / len(y) + sizes[n] * w[n]
            new = np.sign(pull) * max(abs(pull) - penalty, 0.0) / sizes[n]
            if new != w[n]:
                rest -= x[:, n] * (new - w[n])
                moved = max(moved, abs(new - w[n]))
                w[n] = new
        if moved <= 1e-6 * max(1e-12, np.abs(w).max()):
            break
    return w


def datamodeling_score(scores: np.ndarray, masks: np.ndarray, losses: np.ndarray) -> float:
    """LDS of scores [Q, N]: mean over queries of the rank correlation over subsets masks [M, N], losses [M, Q].

    The subsets must not be those that the scores were made from. 1 is a perfect order, 0 is chance.
    """
    foretold = -(masks.astype(np.float64) @ scores.T)  # [M,Q]
    return float(np.mean([rank_correlation(foretold[:, q], losses[:, q]) for q in range(len(scores))]))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; ties share their mean rank. 0 where one side is constant."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / size if size else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]
