"""The limit that MFU is a share of: matrix products as fast as this machine does them, measured now."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

_SIZES = (256, 512, 1024, 2048)
_MAX_SECONDS = 0.5


@lru_cache(maxsize=8)
def matmul_peak(precision: str, device: str = "cpu", threads: int | None = None) -> float:
    """Operations per second of the fastest of a few products of up to 2048^3 (2 * size^3 operations each).

    `threads` only keeps measurements of different thread counts apart. Sizes grow until one takes too long:
    bfloat16 without native instructions would need 10 s for the largest. Not covered: other shapes; a model's
    own are slower, so MFU never flatters, except when other programs are busy during this measurement.
    """
    del threads
    peak = 0.0
    for size in _SIZES:
        best = _fastest(size, getattr(torch, "float32" if precision == "float8" else precision), device)
        peak = max(peak, 2.0 * size**3 / best)
        if 8 * best > _MAX_SECONDS:
            break
    return peak


def _fastest(size: int, dtype: torch.dtype, device: str) -> float:
    """Seconds of the fastest of up to 8 products."""
    left = torch.ones(size, size, dtype=dtype, device=device)
    best, began = float("inf"), time.perf_counter()
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(left, left)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - began > _MAX_SECONDS:
            break
    return best
