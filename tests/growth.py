"""Time that may not grow faster than the text, measured so that a busy machine does not decide."""

from __future__ import annotations

import math
from collections.abc import Callable


def check_growth(
    seconds: Callable[[int], float], small: int, large: int, most: float, floor: float = 0.01
) -> None:
    """`seconds(size)` is the processor time of one run. The least of up to five runs of each size counts; `floor` is the
    time below which a clock says nothing. Quadratic work shows as the square of large / small."""
    least = {small: math.inf, large: math.inf}
    for _ in range(5):
        for size in least:
            least[size] = min(least[size], seconds(size))
        if least[large] <= most * max(least[small], floor):
            return
    raise AssertionError(
        f"{least[large]:.3f} s for {large}, {least[small]:.3f} s for {small}: more than {most} times"
    )
