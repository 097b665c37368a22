"""Several processes for a test: `launch` starts them, `python worlds.py FOLDER MODULE:FUNCTION ...` is one of them.

A function gets (place, folder) and returns JSON facts; the test looks at the facts. Starting Python and torch takes
seconds, so the functions of several tests run in one world (`two`), one after the other.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES = (
    "test_collectives:world",
    "test_data_parallel:world",
    "test_fully_sharded:world",
    "test_sharded:world",
    "test_killed_rank:quick",
)
"""What runs in the world of two processes."""


def start(num_processes: int, folder: Path, *cases: str, **environment: str) -> list[subprocess.Popen[str]]:
    """The processes, as torch.distributed.run would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(HERE), str(HERE.parent), *sys.path]
    common = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
              "WORLD_SIZE": str(num_processes), "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, str(HERE / "worlds.py"), str(folder), *cases],
            env={**common, **environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(num_processes)
    ]  # fmt: skip


def launch(num_processes: int, folder: Path, *cases: str, timeout: float = 240, **environment: str) -> list[dict[str, Any]]:  # fmt: skip
    """Each process's facts, by the name of the case. Raises AssertionError with what a failed process wrote."""
    processes = start(num_processes, folder, *cases, **environment)
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, written) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, written[-3000:]
    return [json.loads((folder / f"facts-{rank}.json").read_text()) for rank in range(num_processes)]


@functools.cache
def two() -> tuple[list[dict[str, Any]], Path]:
    """(facts of both processes, their folder) of all CASES, run once per test session."""
    keeper = tempfile.TemporaryDirectory(prefix="two-processes-")
    _folders.append(keeper)
    return launch(2, Path(keeper.name), *CASES), Path(keeper.name)


def facts_of(case: str) -> list[dict[str, Any]]:
    """Both processes' facts of one case of `two`."""
    found = [facts[case] for facts in two()[0]]
    for each in found:
        assert "traceback" not in each, each["traceback"]
    return found


_folders: list[tempfile.TemporaryDirectory[str]] = []


def main(folder: Path, cases: list[str]) -> None:
    import torch

    from ownlm.train.parallel.dist import joined

    torch.set_num_threads(1)
    facts: dict[str, Any] = {}
    alone = len(cases) == 1  # then a failure is the process's own
    with joined(timeout_seconds=float(os.environ.get("OWNLM_TEST_TIMEOUT", "40"))) as place:
        for case in cases:
            module, function = case.split(":")
            try:
                facts[case] = getattr(importlib.import_module(module), function)(place, folder)
            except Exception:
                if alone:
                    raise
                facts[case] = {"traceback": traceback.format_exc()}
        (folder / f"facts-{place.rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
