import os
import subprocess
import sys

import pytest

from ownlm.runtime import native


def test_switching_off_is_obeyed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNLM_NATIVE", "0")
    assert native.kernels() is None
    assert "OWNLM_NATIVE=0" in native.status() and "fallback" in native.status()


def test_status_agrees_with_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OWNLM_NATIVE", raising=False)
    module = native.kernels()
    if module is None:
        assert "fallback" in native.status()
    else:
        assert module.version in native.status() and module.isa() in native.status()


def test_a_missing_or_broken_module_is_a_fallback_and_said() -> None:
    """In a process of its own: the first look is remembered."""
    script = (
        "import sys; sys.modules['ownlm._native'] = None\n"
        "from ownlm.runtime import native\n"
        "assert native.kernels() is None; print(native.status())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OWNLM_NATIVE"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    assert "not built" in run.stdout
