"""Keep big blocks: tell glibc's malloc not to give large tensors back to the kernel after every use.

By default blocks above a threshold are mapped and unmapped one by one, and every new one is paid for with page
faults, which were 6 % of a training step. Touches nothing but malloc's thresholds; other C libraries are left
alone. Memory once used stays with the process until it ends.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h
_KEEP_BYTES = 2**31 - 1  # an int: about 2 GB may lie free at the end of the heap


def keep_big_blocks() -> str | None:
    """None when it is done, otherwise the reason why not, as one sentence."""
    if not sys.platform.startswith("linux"):
        return "the allocator is left as it is: not Linux"
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt = libc.mallopt
        libc.gnu_get_libc_version  # noqa: B018 - musl has a mallopt too, which does nothing
    except (OSError, AttributeError):
        return "the allocator is left as it is: the C library is not glibc"
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    # Every block on the heap, and the heap's end kept: M_MMAP_THRESHOLD alone stops at 32 MB.
    done = [
        mallopt(_M_MMAP_MAX, 0),
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES),
        mallopt(_M_TOP_PAD, 64 << 20),
    ]
    return None if all(done) else "the allocator is left as it is: mallopt refused"
