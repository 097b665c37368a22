"""Where memory goes: bytes of live tensors, and whether a run's memory grows without end.

    for record in watched(train(...), notice):       # reads /proc once a step; says once that memory leaks
        ...

A leak is growth that does not stop: after a warm-up, in which caches and optimizer state appear, memory rises by more
than 16 MiB and 2 % of itself, by a slope (Theil-Sen: the median slope of all pairs) that every third of the window has.
One step up, as from an evaluation of another shape, has no slope in two of the three thirds.
"""

from __future__ import annotations

import gc
import statistics
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ownlm.records import StepRecord

WARM_UP = 10
"""Samples that are not looked at."""
WINDOW = 60
"""Samples of one judgement; a longer run is thinned out to so many."""
SMALLEST = 16 << 20
SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Leak:
    bytes_per_step: float
    grown: int
    """Bytes, over the steps that were looked at."""
    first: int
    last: int
    """Those steps."""

    def __str__(self) -> str:
        return (f"memory grows by {self.bytes_per_step / 1024:,.0f} KiB a step: {self.grown / 2**20:,.0f} MiB "
                f"from step {self.first} to {self.last}")  # fmt: skip


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux; elsewhere 0), or on a GPU what torch has allocated."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.memory_allocated()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096


def find_leak(samples: Sequence[tuple[int, int]]) -> Leak | None:
    """samples: (step, bytes) in order, the warm-up left out."""
    if len(samples) < 12:
        return None
    whole = slope(samples)
    grown = int(whole * (samples[-1][0] - samples[0][0]))
    enough = grown > max(SMALLEST, SHARE * samples[0][1])
    third = len(samples) // 3
    steady = all(
        slope(part) > whole / 3
        for part in (samples[:third], samples[third : 2 * third], samples[2 * third :])
    )
    return Leak(whole, grown, samples[0][0], samples[-1][0]) if enough and whole > 0 and steady else None


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Theil-Sen: bytes a step."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(samples) for b in samples[n + 1 :] if b[0] != a[0])  # fmt: skip


def watched(
    records: Iterator[StepRecord], notice: Callable[[str], None], measure: Callable[[], int] = resident_bytes
) -> Iterator[StepRecord]:
    """The same records; a leak is told through `notice`, once, with the kinds of tensors that became more."""
    samples: list[tuple[int, int]] = []
    every, told = 1, False
    kinds: Counter[str] | None = None
    for seen, record in enumerate(records, 1):
        if seen > WARM_UP and not told and seen % every == 0:
            kinds = live_kinds() if kinds is None else kinds
            samples.append((record.step, measure()))
            leak = find_leak(samples)
            if leak is not None:
                told = True
                notice(f"{leak}; {_more(kinds, live_kinds())}")
            if len(samples) == WINDOW:
                samples, every = samples[::2], every * 2
        yield record


def live_kinds() -> Counter[str]:
    """Tensors that Python holds, by shape and type. Looks at every object: 10 to 100 ms."""
    return Counter(f"{list(found.shape)} {str(found.dtype).removeprefix('torch.')}" for found in gc.get_objects() if type(found) is Tensor)  # fmt: skip


def _more(before: Counter[str], after: Counter[str]) -> str:
    grown = (after - before).most_common(3)
    return "no more tensors than before: look outside torch" if not grown else "more tensors than before: " + ", ".join(f"{count} of {kind}" for kind, count in grown)  # fmt: skip


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations inside it make, while they live; `peak` is the most at once.

        with LiveBytes() as live:
            loss = ...                  # live.now: what is kept for the backward
            loss.backward()             # live.peak

    Eager operations only: compiled code makes its tensors unseen. Storage is counted, so views are free.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, Tensor) and made.untyped_storage()._cdata not in inputs | self._known:
                self._count(made.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
