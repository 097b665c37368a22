"""Many requests at once: all progress, none blocks another, a vanished client is noticed, counts are true."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import standin
from prometheus_client.parser import text_string_to_metric_families
from standin import HTTP

BODY = {"model": "script", "messages": [{"role": "user", "content": "How do I keep a list sorted?"}]}


def ask(text: str, **fields) -> dict:
    return {"model": "script", "messages": [{"role": "user", "content": text}], **fields}


def until(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def samples(url: str) -> dict:
    text = HTTP.get(url + "/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "model_name"))
            if sample.labels.get("model_name", "script") == "script":
                found[(sample.name, *labels)] = sample.value
    return found


def test_sixteen_streams_progress_together(live):
    live.script.barrier = threading.Barrier(16)  # opens only when all 16 have produced their first token

    def one(number: int) -> str:
        with HTTP.stream("POST", live.url + "/v1/chat/completions", json={**BODY, "stream": True}) as answer:
            assert answer.status_code == 200
            text = answer.read().decode()
        frames = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        assert frames[-1] == "[DONE]" and frames.count("[DONE]") == 1
        return "".join(json.loads(f)["choices"][0]["delta"].get("content", "") for f in frames[:-1])

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(one, range(16)))
    assert len(set(texts)) == 1 and texts[0].startswith("begin bisect.insort")
    assert until(lambda: live.app.state.service.in_flight == 0)


def test_client_that_leaves_a_stream_aborts_the_iterator(live):
    with HTTP.stream("POST", live.url + "/v1/chat/completions", json=ask("endless", stream=True)) as answer:
        pieces = answer.iter_bytes()  # kept: dropping it closes the connection
        next(pieces)
        assert not live.script.closed.is_set()
    assert live.script.closed.wait(2)
    assert until(
        lambda: samples(live.url).get(("ownlm_request_success_total", ("finished_reason", "abort"))) == 1
    )
    assert until(lambda: live.app.state.service.in_flight == 0)


def test_client_that_leaves_a_plain_request_aborts_it_too(live):
    body = json.dumps(ask("endless")).encode()
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert until(lambda: live.app.state.service.in_flight == 1)
    assert live.script.closed.wait(2)


class Waiting:
    """An iterator like the engine's stream: silent in its queue, and closed from any thread."""

    def __init__(self):
        self.items: queue.Queue = queue.Queue()
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        if self.items.get() is None:
            raise StopIteration

    def close(self):
        self.closed.set()
        self.items.put(None)


def test_client_that_leaves_the_queue_is_noticed_at_once():
    waiting = Waiting()
    generator = SimpleNamespace(name="script", generate=lambda request: waiting)
    app, _ = standin.make_app(generator=generator)
    with standin.served(app) as url:
        body = json.dumps(BODY).encode()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert until(lambda: app.state.service.in_flight == 1)
            assert samples(url)[("ownlm_num_requests_waiting",)] == 1
        assert waiting.closed.wait(2)
        assert until(lambda: app.state.service.in_flight == 0)
        assert samples(url)[("ownlm_num_requests_waiting",)] == 0


def test_a_slow_reader_holds_up_nobody(live):
    body = json.dumps(ask("endless", stream=True)).encode()
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        raw.recv(64)  # and then nothing more
        for _ in range(5):
            assert HTTP.post(live.url + "/v1/chat/completions", json=BODY, timeout=5).status_code == 200


def test_heartbeats_are_not_seen_by_the_client(live):
    with HTTP.stream(
        "POST", live.url + "/v1/chat/completions", json=ask("heartbeat", stream=True, max_tokens=2)
    ) as answer:
        frames = [line for line in answer.read().decode().splitlines() if line.startswith("data: {")]
    assert len(frames) == 4  # role, two pieces, the end


def test_too_many_requests_get_a_503(live, monkeypatch):
    monkeypatch.setattr("ownlm.serve.service.MAX_IN_FLIGHT", 1)
    with HTTP.stream("POST", live.url + "/v1/chat/completions", json=ask("endless", stream=True)) as answer:
        pieces = answer.iter_bytes()  # kept: dropping it closes the connection
        next(pieces)
        refused = HTTP.post(live.url + "/v1/chat/completions", json=BODY)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    assert until(lambda: live.app.state.service.in_flight == 0)
    assert HTTP.post(live.url + "/v1/chat/completions", json=BODY).status_code == 200


def test_metrics_match_a_scripted_load(live):
    url = live.url + "/v1/chat/completions"
    for _ in range(3):
        HTTP.post(url, json=BODY)
    for _ in range(2):
        HTTP.post(url, json={**BODY, "max_tokens": 5, "stream": True})
    assert HTTP.post(url, json=ask("word " * 80)).status_code == 400
    assert HTTP.post(url, json=ask("overload")).status_code == 503
    assert HTTP.post(url, json=ask("secret failure")).status_code == 500
    whole = len(live.script.script("sorted")[0].split(" "))
    now = samples(live.url)
    ended = {
        reason: now.get(("ownlm_request_success_total", ("finished_reason", reason)))
        for reason in ("stop", "length", "error", "abort")
    }
    assert ended == {"stop": 3, "length": 2, "error": 1, "abort": None}
    assert now[("ownlm_prompt_tokens_total",)] == 5 * 7
    assert now[("ownlm_generation_tokens_total",)] == 3 * whole + 2 * 5
    assert now[("ownlm_time_to_first_token_seconds_count",)] == 5
    assert now[("ownlm_inter_token_latency_seconds_count",)] == 3 * (whole - 1) + 2 * 4
    assert now[("ownlm_e2e_request_latency_seconds_count",)] == 6
    assert now[("ownlm_num_requests_running",)] == 0 and now[("ownlm_num_requests_waiting",)] == 0
    assert now[("ownlm_request_refused_total", ("code", "context_length_exceeded"))] == 1
    assert now[("ownlm_request_refused_total", ("code", "overloaded"))] == 1


def test_running_gauge_counts_open_streams(live):
    with HTTP.stream("POST", live.url + "/v1/chat/completions", json=ask("endless", stream=True)) as answer:
        pieces = answer.iter_bytes()  # kept: dropping it closes the connection
        next(pieces)
        assert until(lambda: samples(live.url)[("ownlm_num_requests_running",)] == 1)
    assert until(lambda: samples(live.url)[("ownlm_num_requests_running",)] == 0)


def test_two_apps_keep_their_counts_apart(live):
    other, _ = standin.make_app()
    with standin.served(other) as url:
        HTTP.post(live.url + "/v1/chat/completions", json=BODY)
        assert ("ownlm_prompt_tokens_total",) not in samples(url)
