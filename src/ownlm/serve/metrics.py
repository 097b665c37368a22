"""Counts and times for Prometheus: own prefix, vLLM's suffixes and buckets, so its dashboards fit."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ownlm.records import Chunk, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0),
)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_WHOLE = (0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0)


class Metrics:
    """One registry per application, so that two applications in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        label = ("model_name",)

        def counter(name: str, text: str, labels: tuple[str, ...] = label) -> Counter:
            return Counter(f"ownlm_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"ownlm_{name}", text, label, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"ownlm_{name}", text, label, buckets=buckets, registry=self.registry)

        self.running = gauge("num_requests_running", "Requests that have produced their first token")
        self.waiting = gauge("num_requests_waiting", "Requests admitted that wait for their first token")
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens of finished requests")
        self.generation_tokens = counter("generation_tokens", "Generated tokens of finished requests")
        self.success = counter(
            "request_success",
            "Admitted requests by how they ended: stop, length, abort (the client left), error",
            ("model_name", "finished_reason"),
        )
        self.refused = counter("request_refused", "Requests refused, by error code", ("code",))
        self.ignored = counter("ignored_fields", "Request fields accepted without effect", ("field",))
        self.feedback = counter("feedback", "Ratings received", ("rating",))
        self.first_token = histogram("time_to_first_token_seconds", "Arrival to first token", _FIRST_TOKEN)
        self.inter_token = histogram("inter_token_latency_seconds", "Between tokens", _PER_TOKEN)
        self.whole = histogram("e2e_request_latency_seconds", "Arrival to end", _WHOLE)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def refuse(self, code: str | None) -> None:
        self.refused.labels(code or "other").inc()


class Timing:
    """The clock of one request; keeps the gauges and histograms of `metrics` true. Not thread-safe."""

    def __init__(self, metrics: Metrics, model_name: str) -> None:
        self.metrics, self.model_name = metrics, model_name
        self.started = time.perf_counter()
        self.first: float | None = None
        self.last = self.started
        self.tokens = 0
        self._open = True
        metrics.waiting.labels(model_name).inc()

    def chunk(self, chunk: Chunk) -> None:
        """Note a chunk that arrived. Chunks without text and ids are heartbeats."""
        count = len(chunk.token_ids) or (1 if chunk.text else 0)
        if not count:
            return
        now = time.perf_counter()
        if self.first is None:
            self.first = now
            self.metrics.waiting.labels(self.model_name).dec()
            self.metrics.running.labels(self.model_name).inc()
            self.metrics.first_token.labels(self.model_name).observe(now - self.started)
        else:
            for _ in range(count):
                self.metrics.inter_token.labels(self.model_name).observe((now - self.last) / count)
        self.last = now
        self.tokens += count

    def finish(self, reason: str, usage: Usage | None = None) -> None:
        """Book the end once; later calls do nothing."""
        if not self._open:
            return
        self._open = False
        gauge = self.metrics.waiting if self.first is None else self.metrics.running
        gauge.labels(self.model_name).dec()
        if reason == "refused":  # never ran: counted under its error code instead
            return
        self.metrics.success.labels(self.model_name, reason).inc()
        self.metrics.whole.labels(self.model_name).observe(time.perf_counter() - self.started)
        if usage is not None:
            self.metrics.prompt_tokens.labels(self.model_name).inc(usage.prompt_tokens)
            self.metrics.generation_tokens.labels(self.model_name).inc(usage.completion_tokens)

    def facts(self, usage: Usage) -> dict[str, float | None]:
        """For the response: seconds, time to the first token, and the pace after it."""
        seconds = self.last - self.started
        if self.first is None:
            return {
                "seconds": round(seconds, 4),
                "time_to_first_token_seconds": None,
                "tokens_per_second": None,
            }
        after_first = self.last - self.first
        pace = (usage.completion_tokens - 1) / after_first if after_first > 0 else None
        return {
            "seconds": round(seconds, 4),
            "time_to_first_token_seconds": round(self.first - self.started, 4),
            "tokens_per_second": None if not pace or pace <= 0 else round(pace, 1),
        }
