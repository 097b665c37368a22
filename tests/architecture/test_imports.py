"""The direction of imports (pyproject.toml, [tool.importlinter]) and what importing may cost."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_contracts_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_import_ownlm_is_light():
    """No torch, no numpy, and well under 0.3 s (measured inside the process, best of five)."""
    code = "import time; t = time.perf_counter(); import ownlm, sys; print(time.perf_counter() - t, 'torch' in sys.modules, 'numpy' in sys.modules)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(5)
    ]
    assert min(float(run[0]) for run in runs) < 0.3
    assert runs[0][1:] == ["False", "False"]


def test_command_line_loads_no_torch():
    """`ownlm --help` and the reading commands must not pay for torch."""
    code = "import ownlm.cli.main, sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_no_work_at_import():
    """Importing any torch-free module starts no thread and opens no file for writing and no socket."""
    code = """
import sys, threading, pkgutil, importlib
events = []
def hook(event, args):
    if event == "socket.connect" or event == "socket.bind" or (event == "open" and isinstance(args[1], str) and ("w" in args[1] or "a" in args[1])):
        events.append((event, str(args)))
sys.dont_write_bytecode = True
sys.addaudithook(hook)
import ownlm
for info in pkgutil.walk_packages(ownlm.__path__, "ownlm."):
    if info.name.split(".")[1] in ("records", "errors", "config", "runtime", "data", "tokenizer", "rag", "govern", "plan"):
        importlib.import_module(info.name)
print(events, threading.active_count())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] 1"
