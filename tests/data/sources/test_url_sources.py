"""URLs: streamed, bounded, and never into a private network unless that is allowed."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from reading import read

from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources import url

ROWS = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(500)).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/loop":
            self.answer(302, b"", Location="/loop")
        elif path == "/moved.jsonl":
            self.answer(301, b"", Location="/a.jsonl")
        elif path == "/away.txt":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif path == "/short.jsonl":
            self.answer(200, ROWS, length=len(ROWS) + 10)
        elif path == "/slow.jsonl":
            self.answer(200, b"", length=10)
            time.sleep(0.5)
        elif path == "/a.jsonl":
            self.answer(200, ROWS)
        elif path == "/a.jsonl.gz":
            self.answer(200, gzip.compress(ROWS))
        elif path == "/page.html":
            self.answer(200, b"<html><p>a page</p></html>")
        else:
            self.answer(404, b"no")

    def answer(self, status, body, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "moved.jsonl"])
def test_rows_of_a_url(server, name):
    documents, drops = read(f"{server}/{name}", allow_private=True)
    assert [document.text for document in documents] == [
        f"row {number}" for number in range(500)
    ] and not drops
    assert documents[0].source == f"{server}/{name}#1" and documents[0].meta["collection"] == "127.0.0.1"


def test_a_page_of_a_url(server):
    ((document,), _) = read(f"{server}/page.html?x=1", allow_private=True)
    assert document.text == "a page\n" and document.source == f"{server}/page.html?x=1"


def test_private_addresses_are_refused_before_connecting(server, monkeypatch):
    def connect(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", connect)
    port = server.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::ffff:127.0.0.1]",
                 "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "224.0.0.1",
                 "[2002:7f00:1::]", "172.16.3.4", "255.255.255.255"):  # fmt: skip
        documents, drops = read(f"http://{host}:{port}/a.jsonl")
        assert not documents and drops[0].reason.startswith(("URL is refused", "URL cannot be reached")), host
    for bad in ("http://user@example.org/a.txt", "http:///a.txt", "http://a:99999/a.txt"):
        assert read(bad)[1][0].reason.startswith(("URL is refused", "bad URL")), bad


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    both = [(2, 1, 6, "", ("8.8.8.8", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(Unusable, match="private"):
        url.public_address("example.org", 80, False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both[:1])
    assert url.public_address("example.org", 80, False) == "8.8.8.8"


def test_redirects_are_checked_and_bounded(server):
    assert read(f"{server}/loop", format="text", allow_private=True)[1][0].reason.startswith(
        "URL redirects more"
    )
    assert read(f"{server}/away.txt", allow_private=True)[1][0].reason.startswith("URL is refused")
    assert read(f"{server}/gone.txt", allow_private=True)[1][0].reason == "HTTP status: 404"


def test_limits_of_size_and_time(server):
    documents, drops = read(f"{server}/a.jsonl", allow_private=True, limits=Limits(url_bytes=1000))
    assert drops[-1].reason == "URL gives more than 1000 bytes" and len(documents) < 500
    _, drops = read(f"{server}/slow.jsonl", allow_private=True, limits=Limits(url_idle_seconds=0.1))
    assert drops[-1].reason == "URL silent for 0 seconds"
    _, drops = read(f"{server}/a.jsonl", allow_private=True, limits=Limits(url_seconds=-1))
    assert drops[-1].reason.startswith("URL takes longer")


def test_a_body_that_ends_early_is_not_taken_for_whole(server):
    documents, drops = read(f"{server}/short.jsonl", allow_private=True)
    assert len(documents) == 500 and drops[-1].reason.startswith("URL ended early")


def test_a_port_where_nobody_listens():
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    _, drops = read(f"http://127.0.0.1:{free.getsockname()[1]}/a.txt", allow_private=True)
    free.close()
    assert drops[0].reason.startswith("URL cannot be reached")
