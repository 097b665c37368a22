"""Every bad input has its own clear error or counted drop, and its exit code; nothing ends in a traceback."""

import json
import os
import socket
import subprocess
import sys

import pytest
from running import SETTINGS, ownlm

from ownlm.runtime import artifact

TEXT = (
    "The turbine of unit {n} is inspected every {n} months by the maintenance crew of the northern plant. "
    * 4
)


def build(folder, tmp_path, *more):
    return ownlm("build", "--data", folder, "--out", tmp_path / "out", *SETTINGS, *more, check=False)


def refused(result, code, *words):
    assert result.returncode == code, result.stderr[-2000:]
    assert "Traceback" not in result.stderr and "error:" in result.stderr and "fix:" in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr[-2000:]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "data"
    made.mkdir()
    return made


def test_no_such_folder(tmp_path):
    refused(build(tmp_path / "nowhere", tmp_path), 3, "nowhere")


def test_empty_folder(folder, tmp_path):
    refused(build(folder, tmp_path), 3)


def test_only_binaries(folder, tmp_path):
    for n in range(3):
        (folder / f"{n}.bin").write_bytes(bytes(range(256)) * 9)
    refused(build(folder, tmp_path), 3, "3 x")


def test_everything_too_short(folder, tmp_path):
    (folder / "a.txt").write_text("short")
    refused(build(folder, tmp_path), 3, "too short")


def test_odd_files_are_counted_and_the_rest_is_learned(folder, tmp_path):
    """Ten good documents beside invalid UTF-8, NUL bytes, one huge line, a symlink loop, a FIFO and bad JSON."""
    for n in range(10):
        (folder / f"good{n}.txt").write_text(TEXT.format(n=n + 10))
    (folder / "latin.txt").write_bytes(
        TEXT.format(n=99).encode() + " caf\xe9 d\xe9j\xe0 vu".encode("latin-1")
    )
    (folder / "nul.txt").write_bytes(b"\0\1\2" * 500)
    (folder / "line.txt").write_text("x" * 5_000_000)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    (folder / "rows.jsonl").write_text('{"text": 5}\n{"text": "' + TEXT.format(n=77) + '"}\nnot json\n')
    result = build(
        folder, tmp_path, "pretrain.steps=2", "sft.steps=2", "eval.questions=4", "eval.baselines=false"
    )
    assert result.returncode == 0, result.stderr[-3000:]
    metrics = artifact.read(tmp_path / "out" / "corpus").metrics
    steps = {step["step"]: step for step in metrics["funnel"]["steps"]}
    assert steps["dedup_exact"]["num_out"] == 12  # ten, the repaired latin text, the one good row
    reasons = " ".join(reason for step in steps.values() for reason in step["dropped"])
    for word in ("symlink", "binary"):
        assert word in reasons, reasons
    assert sum(step["num_dropped"] for step in steps.values()) >= 6


def test_disk_full_at_every_stage(folder, tmp_path):
    """ENOSPC from the k-th durable write on: one clear error, exit 5, and the rerun finishes."""
    for n in range(12):
        (folder / f"good{n}.txt").write_text(TEXT.format(n=n + 10))
    more = ["pretrain.steps=2", "sft.steps=2", "eval.questions=4", "eval.baselines=false"]
    for k in (1, 4, 9, 25):
        command = ["build", "--data", folder, "--out", tmp_path / "out", *SETTINGS, *more]
        result = ownlm(*command, check=False, environment={"OWNLM_FAULT": f"ENOSPC@{k}-"})
        refused(result, 5, "No space left", "free some space")
    assert build(folder, tmp_path, *more).returncode == 0
    assert json.loads(ownlm("verify", tmp_path / "out", "--json").stdout)["ok"]


def test_port_in_use(built):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(ownlm("serve", built, "--port", port, check=False), 5, str(port), "--port")


@pytest.mark.parametrize(
    "command",
    [["serve"], ["generate", "hello"], ["verify"], ["lineage"], ["trace", "hello there"], ["eval"], ["card"]],
)
def test_not_an_artifact_folder(tmp_path, command):
    result = ownlm(command[0], tmp_path, *command[1:], check=False)
    refused(result, 4, "not an ownlm artifact")


def test_unknown_setting_names_the_nearest(folder, tmp_path):
    refused(build(folder, tmp_path, "pretrain.stepz=3"), 2, "pretrain.steps")


def test_bad_value_says_what_it_takes(folder, tmp_path):
    refused(build(folder, tmp_path, "data.heldout_fraction=2"), 2, "data.heldout_fraction")


def test_empty_question(built):
    refused(ownlm("generate", built, "   ", check=False), 1, "empty")


def test_prompt_longer_than_the_context(built):
    refused(ownlm("generate", built, "word " * 5000, "--raw", check=False), 1, "5")


def test_python_too_old(tmp_path):
    """The check stands before any newer syntax, and the Makefile asks before installing anything."""
    code = "import sys; sys.version_info = (3, 9, 1); import ownlm"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1 and "Python 3.11" in result.stderr and "Traceback" not in result.stderr
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 3.9\n")
    fake.chmod(0o755)
    asked = subprocess.run(["scripts/check-python", fake], capture_output=True, text=True)
    assert asked.returncode == 5 and "3.9" in asked.stderr and "fix:" in asked.stderr
