"""Progress on stderr: in place on a terminal, a line every few seconds in a log. Rate and ETA always."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TextIO

_LOG_SECONDS = 10.0  # between lines when stderr is not a terminal
_TERMINAL_SECONDS = 0.2


def clock(seconds: float) -> str:
    """Seconds as a reader wants them: 42s, 3m05s, 1h02m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def amount(value: float) -> str:
    """A count with three digits: 950, 12.3k, 4.56M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Progress:
    """`with Progress("pretrain", total=500, unit="steps") as p: p.update(1, loss=3.1)`.

    The ETA is the mean rate of this run (after a resume: of the resumed part) over what is left.
    OWNLM_QUIET=1 silences it.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "",
        start: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.count = self._start_count = start
        self.facts: dict[str, float | str] = {}
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._quiet = os.environ.get("OWNLM_QUIET") == "1"
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        self._show(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(force=True, done=kind is None)

    def start_at(self, count: int) -> None:
        """What was done before this run: it counts towards the total, not towards the rate."""
        self.count = self._start_count = count

    def update(self, n: int = 1, **facts: float | str) -> None:
        self.count += n
        self.facts.update(facts)
        self._show()

    def line(self, done: bool = False) -> str:
        elapsed = time.monotonic() - self._began
        rate = (self.count - self._start_count) / elapsed if elapsed > 0 else 0.0
        parts = [f"{self.label:<12}"]
        if self.total:
            parts.append(f"{100 * self.count / self.total:3.0f}%  {amount(self.count)}/{amount(self.total)}")
        elif self.count:
            parts.append(amount(self.count))
        if self.unit and (self.total or self.count):
            parts[-1] += f" {self.unit}"
        if rate > 0:
            parts.append(f"{amount(rate)} {self.unit}/s")
        parts += [
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.facts.items()
        ]
        if done:
            parts.append(f"done in {clock(elapsed)}")
        elif self.total and rate > 0:
            parts.append(f"ETA {clock((self.total - self.count) / rate)}")
        else:
            parts.append(f"{clock(elapsed)} so far")
        return "  ".join(parts)

    def _show(self, force: bool = False, done: bool = False) -> None:
        now = time.monotonic()
        wait = _TERMINAL_SECONDS if self._live else _LOG_SECONDS
        if self._quiet or (not force and now - self._shown < wait):
            return
        self._shown = now
        if self._live:
            self._stream.write("\r\x1b[2K" + self.line(done) + ("\n" if done else ""))
        else:
            self._stream.write(self.line(done) + "\n")
        self._stream.flush()
