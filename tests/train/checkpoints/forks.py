"""`python forks.py`: a process with torch loaded that forks a training run per line of its input, so a start is cheap.

in    {"folder": ..., "settings": {...}, "out": FILE}
out   the run's process id, and when it has ended its exit code (-9: killed); what the run prints is in FILE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import world

from ownlm.train import peak
from ownlm.train.loop import train


def run(order: dict) -> None:
    trained = world.model()
    with open(order["out"], "w", buffering=1) as out:
        for record in train(trained, world.batches(), world.settings(**order["settings"]), Path(order["folder"])):  # fmt: skip
            print("step", record.step, file=out)
        print("digest", world.weights_digest(trained), file=out)


def main() -> None:
    torch.set_num_threads(1)
    peak.matmul_peak("float32", "cpu", 1)  # measured once, for all children
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(child, flush=True)
        sys.stdin.readline()  # until it is waited for, its process id is nobody else's
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
