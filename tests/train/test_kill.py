"""SIGKILL of compiled runs, each in a process of its own: the rerun ends in the bits of an undisturbed run.

The many kills of plain runs are in checkpoints/test_many_kills.py.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORLD = Path(__file__).parent / "world.py"


def start(folder, settings):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(
        [sys.executable, str(WORLD), str(folder), json.dumps(settings)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip


def finish(folder, settings):
    process = start(folder, settings)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output.split("digest ")[1].strip(), (folder / "losses.jsonl").read_bytes()


def kill(folder, settings, aimed, dice):
    """Kill a run inside a save (seen from outside: a .partial folder is there), or some time after a step."""
    process = start(folder, settings)
    process.stdout.readline()  # the first step of this process is done
    if aimed:
        deadline = time.monotonic() + 60
        while not any(folder.glob("checkpoints/*.partial")) and process.poll() is None:
            assert time.monotonic() < deadline, "no save was seen"
        time.sleep(dice.random() * 0.004)
    else:
        time.sleep(dice.random() * 0.4)
    inside = any(folder.glob("checkpoints/*.partial"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL, inside


def disturbed_equals_undisturbed(tmp_path, settings, num_kills, num_aimed):
    dice = random.Random(5)
    expected = finish(tmp_path / "calm", settings)
    folder = tmp_path / "stormy"
    folder.mkdir()
    killed = inside = 0
    for number in range(num_kills):
        hit, within = kill(folder, settings, number < num_aimed, dice)
        killed, inside = killed + hit, inside + (hit and within)
    assert killed >= num_kills - 2 and inside >= 1
    assert finish(folder, settings) == expected


@pytest.mark.slow
@pytest.mark.timeout(1200)  # twelve starts, most of them compiling; bfloat16 is emulated on some processors
@pytest.mark.parametrize("settings", [
    {"num_steps": 200, "checkpoint_steps": 5, "threads": 2},
    {"num_steps": 24, "checkpoint_steps": 2, "threads": 2, "compile": True, "precision": "bfloat16"},
    {"num_steps": 100, "checkpoint_steps": 3, "threads": 2, "compile": True},
])  # fmt: skip
def test_ten_kills_five_of_them_inside_a_save(tmp_path, settings):
    disturbed_equals_undisturbed(tmp_path, settings, num_kills=10, num_aimed=5)
