"""Killed at any moment, the same command goes on, and ends in the same bits as a run that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from running import SETTINGS, ownlm

from ownlm.runtime.files import sha256_file


def outcome(folder):
    losses = [
        json.loads(line)["loss"] for line in (folder / "pretrained" / "losses.jsonl").read_text().splitlines()
    ]
    return (
        losses,
        sha256_file(folder / "pretrained" / "model.safetensors"),
        sha256_file(folder / "model" / "model.safetensors"),
    )


def start(library, out):
    command = [
        sys.executable,
        "-m",
        "ownlm.cli.main",
        "build",
        "--data",
        str(library),
        "--out",
        str(out),
        *SETTINGS,
    ]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(process, condition, seconds=120):
    """True when the condition came about while the process ran."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


def in_a_save(out):
    """A checkpoint of a training stage is half written."""
    return lambda: any(out.glob("*.partial/checkpoints/*.partial"))


def disturb(library, out, moments):
    """Kill at the start of every named stage, then inside saves, then at the given seconds after a start."""
    kills = 0
    for moment in moments:
        process = start(library, out)
        if isinstance(moment, str):
            condition = (
                in_a_save(out) if moment == "save" else lambda m=moment: (out / f"{m}.partial").exists()
            )
            hit = wait_for(process, condition)
        else:
            hit = wait_for(process, lambda end=time.monotonic() + moment: time.monotonic() > end)
        if hit:
            kills += 1
            kill(process)
        else:
            assert process.wait() == 0
            break
    return kills


def test_killed_builds_end_in_the_same_bits(built, library, tmp_path):
    """Quick size: a kill in each kind of stage and inside a save."""
    out = tmp_path / "killed"
    kills = disturb(library, out, ["shards", "pretrained", "save", "model", "save"])
    assert kills >= 4
    result = ownlm("build", "--data", library, "--out", out, *SETTINGS)
    assert "Traceback" not in result.stderr
    assert outcome(out) == outcome(built)
    assert json.loads(ownlm("verify", out, "--json").stdout)["ok"]
    assert not list(out.glob("*.partial")) and not list(out.glob("*.old"))


@pytest.mark.slow
def test_twenty_kills(built, library, tmp_path):
    """Five inside a save, one at the start of every stage, the rest at random moments (seed printed by pytest)."""
    out = tmp_path / "killed"
    seed = int(os.environ.get("OWNLM_TEST_SEED", "0"))
    draw = random.Random(seed)
    stages = [
        "corpus",
        "tokenizer",
        "shards",
        "index",
        "overlap",
        "pretrained",
        "save",
        "save",
        "save",
        "questions",
        "model",
        "save",
        "save",
        "eval",
    ]
    moments = [*stages[:6], *[draw.uniform(3, 8) for _ in range(6)], *stages[6:]]
    kills = disturb(library, out, moments)
    assert kills >= 15, f"seed {seed}: only {kills} kills landed"
    ownlm("build", "--data", library, "--out", out, *SETTINGS)
    assert outcome(out) == outcome(built), f"seed {seed}"


def test_interrupt_says_how_to_go_on(library, tmp_path):
    """Ctrl-C: exit code 130, one line, and nothing left half done under its final name."""
    out = tmp_path / "interrupted"
    command = [
        sys.executable,
        "-m",
        "ownlm.cli.main",
        "build",
        "--data",
        str(library),
        "--out",
        str(out),
        *SETTINGS,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a job in the background ignores it
    )  # fmt: skip
    assert wait_for(process, lambda: (out / "pretrained.partial").exists())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in errors and "Traceback" not in errors
    assert not (out / "pretrained").exists()
