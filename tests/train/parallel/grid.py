"""Several gloo processes for the tests of meshes. `launch` runs a script of this folder in each and returns what they
report; `fast` is the one world of two processes that all fast tests share (an import of torch costs seconds)."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

HERE = Path(__file__).parent
SECONDS = 400  # of a busy machine; seconds of a quiet one

FAST: dict[str, dict[str, Any]] = {
    "dp": {"sizes": {"dp": 2}, "micro": 2},
    "tp": {"sizes": {"tp": 2}, "micro": 2},
    "cp": {"sizes": {"cp": 2}, "micro": 2},
    "cp window": {"sizes": {"cp": 2}, "model": "window", "steps": 3},
    "gpipe": {"sizes": {"pp": 2}, "schedule": "gpipe", "steps": 3},
    "1f1b": {"sizes": {"pp": 2}, "micro": 2},
    "interleaved": {"sizes": {"pp": 2}, "schedule": "interleaved", "chunks": 2, "layers": 4, "steps": 3},
    "untied": {"sizes": {"pp": 2}, "model": "untied", "steps": 3},
    "ep": {"sizes": {"ep": 2}, "model": "moe", "micro": 2, "steps": 3},
    "layer tp": {"check": "tensor"},
    "layer cp": {"check": "context"},
    "layer ep": {"check": "expert"},
    "refused": {"check": "refusals"},
}


@functools.cache
def fast() -> dict[str, list[dict[str, Any]]]:
    """What both processes found in every case of FAST."""
    with tempfile.TemporaryDirectory() as folder:
        found = launch("runs.py", 2, Path(folder), json.dumps(list(FAST.values())))
    return {name: [each["cases"][n] for each in found] for n, name in enumerate(FAST)}


def launch(script: str, num_processes: int, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run tests/train/parallel/`script` with `arguments` as so many processes; what each reported, by rank."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("store*"):
        old.unlink()
    running = []
    for rank in range(num_processes):
        more = {"RANK": str(rank), "WORLD_SIZE": str(num_processes), "OMP_NUM_THREADS": "1",
                "OWNLM_TEST_STORE": str(folder / "store"), "OWNLM_TEST_FOLDER": str(folder)}  # fmt: skip
        log = open(folder / f"{rank}.log", "wb")  # noqa: SIM115 - a pipe that nobody reads would fill
        command = [sys.executable, str(HERE / script), *arguments]
        running.append(
            (subprocess.Popen(command, env=os.environ | more, stdout=log, stderr=subprocess.STDOUT), log)
        )
    try:
        codes = [process.wait(timeout=SECONDS) for process, _ in running]
    finally:
        for process, log in running:
            process.kill()
            log.close()
    logs = ((folder / f"{n}.log").read_text(errors="replace")[-3000:] for n in range(num_processes))
    assert codes == [0] * num_processes, "\n".join(f"--- process {n}\n{text}" for n, text in enumerate(logs))
    return [json.loads((folder / f"{n}.json").read_text()) for n in range(num_processes)]


def join() -> Path:
    """In a launched process: join the others; the folder of the test."""
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = f"file://{os.environ['OWNLM_TEST_STORE']}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    return Path(os.environ["OWNLM_TEST_FOLDER"])


def report(folder: Path, found: dict[str, Any]) -> None:
    """Leave this process's findings, and the group."""
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
