"""The limit that MFU is a share of: matrix products as fast as this machine does them, measured now."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

_SIZE = 2048
_MAX_SECONDS = 0.5


@lru_cache(maxsize=8)
def matmul_peak(precision: str, device: str = "cpu", threads: int | None = None) -> float:
    """Operations per second of the best of a few 2048^3 products (2 * 2048^3 operations each).

    `threads` only keeps measurements of different thread counts apart. Without native bfloat16 a smaller
    product is timed, for one of this size would take seconds. Not covered: other shapes; a model's own are
    slower, so MFU never flatters.
    """
    del threads
    dtype = getattr(torch, precision)
    size = _SIZE
    while True:
        best, spent = _fastest(size, dtype, device)
        if spent <= 4 * _MAX_SECONDS or size <= 256:
            return 2.0 * size**3 / best
        size //= 2


def _fastest(size: int, dtype: torch.dtype, device: str) -> tuple[float, float]:
    """Seconds of the fastest product and of all of them."""
    left = torch.ones(size, size, dtype=dtype, device=device)
    best, began = float("inf"), time.perf_counter()
    for _ in range(8):
        start = time.perf_counter()
        product = left @ left
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - began > _MAX_SECONDS:
            break
    del product
    return best, time.perf_counter() - began
