"""Atomic writes under injected faults, and paths that may not escape."""

import os
import subprocess
import sys

import pytest

from ownlm.errors import ArtifactError, MachineError
from ownlm.runtime import files


def test_write_replaces_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_atomic(path, "first")
    files.write_atomic(path, "second")
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["file.txt"]


def test_exception_while_writing_keeps_the_old(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    with pytest.raises(RuntimeError), files.open_atomic(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["ENOSPC", "EIO", "EDQUOT"])
def test_planned_fault_is_clear_and_keeps_the_old(tmp_path, monkeypatch, name):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    monkeypatch.setenv("OWNLM_FAULT", f"{name}@{files._writes + 1}")
    with pytest.raises(MachineError) as caught:
        files.write_atomic(path, "new")
    assert str(path) in str(caught.value) and caught.value.fix
    assert path.read_text() == "old"
    files.write_atomic(path, "new")
    assert path.read_text() == "new"


def test_real_full_disk(tmp_path):
    """/dev/full refuses every byte, as a full disk does."""
    code = "from ownlm.runtime.files import machine_error\ntry:\n f=open('/dev/full','wb'); f.write(b'x'); f.flush()\nexcept OSError as e: print(machine_error(e,'writing').fix)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "free some space" in result.stdout


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "nul\0", "link/x"])
def test_contained_refuses_escapes(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ArtifactError):
        files.contained(root, name)


def test_contained_allows_inside(tmp_path):
    assert files.contained(tmp_path, "a/./b") == tmp_path.resolve() / "a" / "b"


def test_json_digest_ignores_key_order():
    assert files.sha256_json({"a": 1, "b": [2]}) == files.sha256_json({"b": [2], "a": 1})
    assert files.sha256_json({"a": 1}) != files.sha256_json({"a": 2})
