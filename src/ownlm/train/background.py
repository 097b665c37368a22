"""Saving while the next steps run: a copy of the state in host memory, and one thread that writes it.

    loop      step 10 | wait, copy | step 11 | step 12 | ... | step 20 | wait, copy | ...
    writer                         [write and sync step 10 ]                        [write ...

The loop waits for the copy only, and for the write before it where that still runs: saves never interleave, and there
is never more than one copy. Not covered: several processes, whose layouts write together and in the foreground.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Copies:
    """One copy of a state in host memory, its buffers kept from save to save."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self, live: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The live tensors' values as they are now, under the same names, contiguous and on the CPU.

        The buffers of the call before are written over: what it returned must be done with.
        """
        kept = {}
        for name, tensor in live.items():
            buffer = self.buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            kept[name] = buffer.copy_(tensor)
        self.buffers = kept
        return dict(kept)


class Writer:
    """Runs one job at a time; what goes wrong in a job is raised where the next one is asked for, or by `wait`."""

    def __init__(self, in_background: bool) -> None:
        self.in_background = in_background
        self.num_failed = 0
        """Jobs that ended in an error."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Run `job`: now, or in a thread once the one before is done. Raises the error of the one before."""
        self.wait()
        if not self.in_background:
            self._run(job)
            self.wait()
            return
        # Not a daemon: a process that ends meanwhile finishes the write.
        self._thread = threading.Thread(target=self._run, args=(job,), name="checkpoint writer", daemon=False)
        self._thread.start()

    def wait(self) -> None:
        """On return no job runs. Raises the last one's error, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # raised again in the loop's thread: nothing is swallowed
            self.num_failed += 1
            self._error = error
