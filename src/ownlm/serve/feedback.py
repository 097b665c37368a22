"""Ratings of answers, appended to a JSONL file: one ASCII JSON object per line, never rewritten."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ownlm.errors import MachineError

MAX_FILE_BYTES = 64 * 1024 * 1024


class Feedback:
    """Thread-safe. Each line is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, record: Mapping[str, Any]) -> None:
        """Raises MachineError when the file is full or cannot be written."""
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}
        # ASCII: line breaks, terminal escapes and bidi marks of a user's text stay inside their line.
        line = (json.dumps(entry, ensure_ascii=True) + "\n").encode("ascii")
        with self._lock:
            try:
                size = self.path.stat().st_size if self.path.exists() else 0
                if size + len(line) > MAX_FILE_BYTES:
                    raise MachineError(
                        "The feedback file is full.",
                        f"{self.path.name}: {MAX_FILE_BYTES:,} bytes",
                        "Move it away; a new one is begun.",
                    )
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._write(line)
            except OSError as error:
                raise MachineError("The feedback could not be written.", type(error).__name__) from error

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        handle = os.open(self.path, flags, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
