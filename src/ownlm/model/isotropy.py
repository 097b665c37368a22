"""How evenly an embedding table fills its space: cosines of random pairs of rows.

Directions spread evenly over D dimensions have cosines of mean 0 and standard deviation 1/sqrt(D); trained tables
often lie in a narrow cone, whose mean cosine is far above 0 (Ethayarajh 2019, arXiv:1909.00512).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ownlm.errors import DataError


@dataclass(frozen=True, slots=True)
class Isotropy:
    """cosines: float32 [pairs]; counts over `edges` (one more than counts)."""

    mean: float
    std: float
    expected_std: float
    num_pairs: int
    num_zero_rows: int
    """Rows of length 0 have no direction and are left out."""
    counts: tuple[int, ...]
    edges: tuple[float, ...]


def isotropy(table: Tensor, num_pairs: int = 50_000, seed: int = 0, num_bins: int = 80) -> Isotropy:
    """table: [V, D] of any float type; pairs are drawn with replacement, never a row with itself.

    Raises DataError for fewer than two rows with a direction, or numbers that are not finite.
    """
    table = table.detach().float()
    if table.ndim != 2 or not bool(torch.isfinite(table).all()):
        raise DataError(
            "An embedding table is a matrix of finite numbers.",
            f"shape {tuple(table.shape)}",
            "check the weights",
        )
    length = table.norm(dim=1)
    rows = table[length > 0] / length[length > 0, None]
    if len(rows) < 2:
        raise DataError(
            "There are not two rows with a direction.", f"{len(rows)} of {len(table)}", "check the weights"
        )
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, len(rows), (num_pairs,), generator=generator)
    other = (first + torch.randint(1, len(rows), (num_pairs,), generator=generator)) % len(rows)
    cosines = (rows[first] * rows[other]).sum(dim=1).clamp(-1, 1)  # [pairs]
    counts = torch.histc(cosines, num_bins, -1.0, 1.0)
    edges = torch.linspace(-1, 1, num_bins + 1)
    return Isotropy(
        float(cosines.mean()), float(cosines.std()), table.shape[1] ** -0.5, num_pairs, int((length == 0).sum()),
        tuple(map(int, counts.tolist())), tuple(edges.tolist()),
    )  # fmt: skip


def draw(found: Isotropy, path: Path | str, title: str) -> None:
    """The histogram as a picture, with the spread of even directions beside it."""
    from ownlm.runtime.adapters.matplotlib import figure

    with figure(path) as axes:
        axes.stairs(
            found.counts,
            found.edges,
            fill=True,
            alpha=0.6,
            label=f"mean {found.mean:+.3f}, std {found.std:.3f}",
        )
        axes.axvline(found.mean, color="black", linewidth=1)
        axes.axvspan(-found.expected_std, found.expected_std, alpha=0.15, color="green",
                     label=f"even directions: 0 ± {found.expected_std:.3f}")  # fmt: skip
        axes.set(title=title, xlabel="cosine of two random rows", ylabel="pairs")
        axes.legend(fontsize=8)
