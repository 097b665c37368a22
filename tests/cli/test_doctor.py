"""`ownlm doctor` says what is there, what is missing, and exits non-zero when something needed is."""

import json
import socket
import subprocess
import sys

from ownlm.cli import doctor
from ownlm.runtime import hardware


def checks(port=0):
    from pathlib import Path

    return {check.name: check for check in doctor.examine(port or 65000, Path("."))}


def test_json_is_one_object_and_this_machine_passes():
    result = subprocess.run(
        [sys.executable, "-m", "ownlm.cli.main", "doctor", "--json"], capture_output=True, text=True
    )
    found = json.loads(result.stdout)
    assert found["ok"] and result.returncode == 0 and found["version"]
    assert {"Python", "torch", "native kernels", "SQLite FTS5", "free disk"} <= {
        check["name"] for check in found["checks"]
    }


def test_missing_torch_fails_with_the_install_line(monkeypatch):
    monkeypatch.setattr(hardware, "version_of", lambda package: None)
    check = checks()["torch"]
    assert check.state == "fail" and "pip install" in check.fix and "torch==" in check.fix


def test_taken_port_is_noted():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert checks(port)[f"port {port}"].state == "note"


def test_too_little_memory_fails(monkeypatch):
    monkeypatch.setattr(hardware, "_memory", lambda: 1 << 30)
    assert checks()["memory"].state == "fail"


def test_switched_off_kernels_are_said(monkeypatch):
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    result = subprocess.run(
        [sys.executable, "-m", "ownlm.cli.main", "doctor", "--json"], capture_output=True, text=True
    )
    check = next(c for c in json.loads(result.stdout)["checks"] if c["name"] == "native kernels")
    assert check["state"] == "note" and "OWNLM_NATIVE" in check["value"]
