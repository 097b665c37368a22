"""The picture of an attention pattern: which source token each target token looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ownlm.errors import UsageError
from ownlm.runtime.adapters.matplotlib import figure


def draw_alignment(pattern: Tensor, source: Sequence[str], target: Sequence[str], path: Path | str) -> None:
    """pattern [T, S] with rows that sum to 1, the S source and T target tokens as text -> a picture file.

    Raises UsageError where the words do not fit the pattern, MissingDependency without matplotlib.
    """
    if tuple(pattern.shape) != (len(target), len(source)):
        raise UsageError("The pattern has another size than its words.", f"{list(pattern.shape)} for {len(target)} target and {len(source)} source tokens",
                         "give one row per target token and one column per source token")  # fmt: skip
    with figure(path, (1 + 0.4 * len(source), 1 + 0.4 * len(target))) as axes:
        axes.imshow(pattern.detach().float().cpu().numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_xticks(range(len(source)), source)
        axes.set_yticks(range(len(target)), target)
        axes.set(xlabel="source", ylabel="target")
