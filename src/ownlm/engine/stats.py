"""What the engine counts: totals since the start, and the latest latencies as raw numbers."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from ownlm.engine.sequence import Sequence

KEPT = 4096
"""Latencies remembered; older ones fall out, the totals go on."""


class Stats:
    def __init__(self) -> None:
        self.prompt_tokens = 0  # given to the model
        self.generation_tokens = 0
        self.finished: Counter[str] = Counter()  # by reason: stop, length, error, abort
        self.num_first_tokens = 0
        self.ttft_seconds: deque[float] = deque(maxlen=KEPT)
        self.inter_token_seconds: deque[float] = deque(maxlen=KEPT)
        self.request_seconds: deque[float] = deque(maxlen=64)

    def tokens(self, sequence: Sequence, count: int, now: float) -> None:
        """`count` tokens of a sequence came out of one step at `now`."""
        self.generation_tokens += count
        if sequence.first_token_at:
            self.inter_token_seconds.extend([(now - sequence.last_token_at) / count] * count)
        else:
            self.num_first_tokens += 1
            self.ttft_seconds.append(now - sequence.submitted)
            sequence.first_token_at = now
        sequence.last_token_at = now

    def end(self, sequence: Sequence, reason: str, now: float) -> None:
        self.finished[reason] += 1
        self.request_seconds.append(now - sequence.submitted)

    def retry_after_seconds(self, num_waiting: int, num_slots: int) -> float:
        """About when a full queue has moved by one place: rounds of requests ahead times a request's mean time."""
        seconds = sum(self.request_seconds) / len(self.request_seconds) if self.request_seconds else 1.0
        return min(60.0, max(1.0, seconds * num_waiting / num_slots / 2))

    def snapshot(self) -> dict[str, Any]:
        return {
            "prompt_tokens_total": self.prompt_tokens,
            "generation_tokens_total": self.generation_tokens,
            "requests_finished_total": dict(self.finished),
            "num_first_tokens_total": self.num_first_tokens,
            "ttft_seconds": list(self.ttft_seconds),
            "inter_token_seconds": list(self.inter_token_seconds),
        }
