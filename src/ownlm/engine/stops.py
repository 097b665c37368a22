"""Stop strings: found across token boundaries, never shown, nothing else held back longer than needed."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Text goes in as it is decoded and comes out as soon as it cannot be part of a stop string any more."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(text that may be shown, whether a stop string was met); what follows the stop string is dropped."""
        held = self._held + text
        # Every earlier character is known to start no stop string, so `held` holds the first hit, if any.
        hits = [at for stop in self._stops if (at := held.find(stop)) >= 0]
        if hits:
            self._held = ""
            return held[: min(hits)], True
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def flush(self) -> str:
        """What is still held when the answer ends for another reason: it was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop` (and is not all of it)."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
