"""Joining a run of several processes, and leaving it: as a group, or not at all.

    python -m torch.distributed.run --nproc-per-node 4 script.py        sets RANK, WORLD_SIZE, MASTER_ADDR ...
    with joined() as place:                                             joins; every process calls this

A process that dies takes the others with it: their next collective fails at once where the connection breaks (gloo),
else after `timeout_seconds`, and they end with a MachineError and a non-zero exit code. The run is started again
by hand or by torch.distributed.run (--max-restarts) and goes on from its newest whole checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from ownlm.errors import MachineError, UsageError

TIMEOUT_SECONDS = 50.0
"""Patience with a process that neither answers nor dies; below the minute within which the others must stop."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which process this is."""

    rank: int
    num_processes: int
    device: torch.device


@contextmanager
def joined(timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[Place]:
    """Inside, torch.distributed is ready: nccl with a GPU for each process of the machine, else gloo.

    The timeout must exceed what the slowest process may lag behind: the writing of a checkpoint shard, a first
    compilation. Raises UsageError outside of a launched run, MachineError when another process is gone.
    """
    rank, size, local = (_variable(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if not 0 <= rank < size:
        raise UsageError("This is no process of the run.", f"RANK={rank}, WORLD_SIZE={size}", _LAUNCH)
    cuda = torch.cuda.is_available() and local < torch.cuda.device_count()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if cuda else "gloo", timeout=timedelta(seconds=timeout_seconds),
            device_id=device if cuda else None,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise MachineError("The processes of the run did not meet.", _first_line(error), _LAUNCH) from error
    try:
        yield Place(rank, size, device)
    except RuntimeError as error:
        # Torn down without a word to the others: a barrier here would wait for one that is dead.
        if _lost(error):
            raise MachineError(
                "Another process of this run is gone, or did not answer in time.",
                f"process {rank} of {size}: {_first_line(error)}",
                "look at that process's own message; the same command goes on from the newest whole checkpoint",
            ) from error
        raise
    else:
        dist.barrier()  # nobody closes its connections while another still reads from them
        dist.destroy_process_group()


def _variable(name: str) -> int:
    text = os.environ.get(name, os.environ.get("RANK") if name == "LOCAL_RANK" else None)
    if text is None or not text.isdigit():
        raise UsageError("This process was not launched as one of several.", f"{name}={text}", _LAUNCH)
    return int(text)


def _lost(error: RuntimeError) -> bool:
    """Whether a collective failed because of another process, by the words of gloo, nccl and the store."""
    text = str(error).lower()
    words = ("closed by peer", "connection reset", "broken pipe", "timed out", "timeout", "connection was")
    return isinstance(error, dist.DistError) or any(word in text for word in words)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


_LAUNCH = "start it with: python -m torch.distributed.run --standalone --nproc-per-node 2 ..."
