"""Listening and ending: a port that is taken, signals with a stream open."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from standin import HTTP

from ownlm.errors import MachineError
from ownlm.serve.run import hosts_for, listen

PROGRAM = """
import sys
sys.path.insert(0, {here!r})
import standin
from ownlm.serve.run import serve
app, _ = standin.make_app()
serve(app, "127.0.0.1", 0, ready=lambda address: print(address, flush=True), drain_seconds={drain})
print("ended", flush=True)
"""


def start(drain: float) -> tuple[subprocess.Popen, str]:
    program = PROGRAM.format(here=str(Path(__file__).parent), drain=drain)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_port_in_use_names_the_owner_and_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError) as caught:
            listen("127.0.0.1", port)
    assert caught.value.what == f"Port {port} is in use." and f"--port {port + 1}" in caught.value.fix
    if sys.platform.startswith("linux"):
        assert f"pid {os.getpid()}" in caught.value.values


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_foreign_address_is_said(host):
    with pytest.raises(MachineError, match="address"):
        listen(host, 0)


def test_no_nagle_on_connections():
    """asyncio sets TCP_NODELAY only where the protocol is named; without it each answer costs 40 ms."""
    with listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_hosts():
    assert "localhost" in hosts_for("127.0.0.1") and "[::1]" in hosts_for("::1")
    assert "box.lan" in hosts_for("box.lan") and "localhost" in hosts_for("box.lan")
    assert hosts_for("0.0.0.0") is None and hosts_for("::") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number):
    process, url = start(drain=1)
    assert HTTP.get(url + "/health").status_code == 200
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.stdout.read().strip() == "ended"


def test_open_streams_get_an_error_event_before_the_drain_limit():
    process, url = start(drain=1)
    body = {"model": "script", "messages": [{"role": "user", "content": "endless"}], "stream": True}
    with HTTP.stream("POST", url + "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        frames = [line[6:] for line in lines if line.startswith("data: ")]
    assert frames[-1] == "[DONE]" and json.loads(frames[-2])["error"]["code"] == "shutting_down"
    assert process.wait(10) == 0 and time.monotonic() - begin < 4
