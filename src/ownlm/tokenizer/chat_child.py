"""The child process that renders foreign chat templates, seen from this side: ask, wait no longer than a deadline, kill."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ownlm.errors import MachineError
from ownlm.tokenizer.chat_render import MAX_OUTPUT, TemplateFault, TemplateRefusal

DEADLINE_SECONDS = 0.5  # of one rendering (RELIABILITY B5)
_START_SECONDS = 30.0  # Python and Jinja on a busy machine
_LOCK = threading.Lock()
_child: subprocess.Popen[bytes] | None = None
_owner = 0  # the process that started it: after a fork, the other one starts its own


def render_apart(source: str, variables: dict[str, Any], table: dict[int, str]) -> str:
    """As chat_render.render, in the child. TemplateFault also when it is late, grows too big or dies."""
    global _child, _owner
    line = json.dumps({"source": source, "variables": variables, "table": table}).encode() + b"\n"
    with _LOCK:
        if _child is None or _owner != os.getpid() or _child.poll() is not None:
            _child, _owner = _start(), os.getpid()
        try:
            answer = json.loads(_ask(_child, line, DEADLINE_SECONDS + len(line) * 1e-7))
        except (OSError, ValueError, TimeoutError) as error:
            _stop()
            reason = "it took too long" if isinstance(error, TimeoutError) else "its process died"
            raise TemplateFault(
                f"{reason} (limits: {DEADLINE_SECONDS} s, 64 MiB, {MAX_OUTPUT} characters)"
            ) from None
    if "text" in answer:
        return str(answer["text"])
    if "refusal" in answer:
        raise TemplateRefusal(answer["refusal"])
    raise TemplateFault(str(answer["fault"]))


def _start() -> subprocess.Popen[bytes]:
    package_parent = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", _BOOT, package_parent]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONUTF8": "1"},
    )
    try:
        if _read_line(child, _START_SECONDS) != b"ready\n":
            raise ValueError("no greeting")
    except (OSError, ValueError, TimeoutError) as error:
        child.kill()
        child.wait()
        raise MachineError(
            "The process that renders chat templates did not start.",
            " ".join(command[:2]),
            "check that this Python can import ownlm.tokenizer.chat_render",
        ) from error
    return child


_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from ownlm.tokenizer import chat_render; chat_render._serve()"


def _ask(child: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes:
    if child.stdin is None:
        raise ValueError("no pipe")
    child.stdin.write(line)
    child.stdin.flush()
    return _read_line(child, seconds)


def _read_line(child: subprocess.Popen[bytes], seconds: float) -> bytes:
    """One line, or TimeoutError. Reads the descriptor itself, so nothing waits behind a buffer."""
    if child.stdout is None:
        raise ValueError("no pipe")
    until = time.monotonic() + seconds
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            part = child.stdout.raw.read(1 << 16)  # type: ignore[attr-defined]
            if not part:
                raise ValueError("end of output")
            parts.append(part)
    return b"".join(parts)


@atexit.register
def _stop() -> None:
    global _child
    child, _child = _child, None
    if child is not None and _owner == os.getpid():
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was still in the buffer of a dead process
                    pipe.close()
