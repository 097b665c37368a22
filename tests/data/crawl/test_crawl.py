"""The crawler against a local site: what it fetches, what it leaves, what it writes, and how it comes back."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from local_site import page, serve

from ownlm.data.addresses import is_public
from ownlm.data.crawl import fetch as fetching
from ownlm.data.crawl.crawl import CrawlSettings, crawl
from ownlm.data.crawl.fetch import Bounds, FetchError, fetch
from ownlm.data.crawl.urls import canonical
from ownlm.errors import MachineError, UsageError

FAST = CrawlSettings(delay=0.0, retry_seconds=0.01, allow_private=True)
TEXT = {"Content-Type": "text/plain"}


def members(folder: Path) -> list[tuple[dict[str, str], bytes]]:
    """Header and block of every record, by a reader of our own: one gzip member per record."""
    found = []
    for path in sorted(folder.glob("*.warc.gz")):
        data = path.read_bytes()
        while data:
            unfold = zlib.decompressobj(31)
            record = unfold.decompress(data)
            assert unfold.eof
            data = unfold.unused_data
            head, _, rest = record.partition(b"\r\n\r\n")
            version, *lines = head.decode().split("\r\n")
            assert version == "WARC/1.1"
            fields = dict(line.split(": ", 1) for line in lines)
            block = rest[: int(fields["Content-Length"])]
            assert rest[len(block) :] == b"\r\n\r\n"
            found.append((fields, block))
    return found


def stored(folder: Path) -> list[str]:
    return [fields["WARC-Target-URI"] for fields, _ in members(folder) if fields["WARC-Type"] == "response"]


def test_follows_links_and_obeys_every_rule(tmp_path: Path) -> None:
    pages = {
        "/robots.txt": (200, TEXT, b"User-agent: GPTBot\nDisallow: /\nUser-agent: *\nDisallow: /secret\nContent-Usage: /art/ train-ai=n\n"),
        "/ai.txt": (200, TEXT, b"User-Agent: *\nDisallow: /aitxt\n"),
        "/.well-known/tdmrep.json": (200, {"Content-Type": "application/json"}, json.dumps([{"location": "/tdm/*", "tdm-reservation": 1}]).encode()),
        "/": page("/a", "/secret/x", "/noai", "/header", "/tdm/x", "/aitxt", "/art/x", "/img.png", "/moved", "/gone", "mailto:a@b.c", "http://other.invalid/", "/nofollow", "/#frag"),
        "/a": page("/b", "/", "./a#x"),
        "/b": page("/c"),
        "/noai": page(head='<meta name="robots" content="noai, noimageai">'),
        "/header": (200, {"Content-Type": "text/html", "X-Robots-Tag": "noai"}, b"x"),
        "/img.png": (200, {"Content-Type": "image/png"}, b"png"),
        "/moved": (302, {"Location": "/target"}, b""),
        "/target": page(text="moved here"),
        "/nofollow": page("/never", head='<meta name="robots" content="nofollow">'),
    }  # fmt: skip
    with serve(pages) as site:
        summary = crawl([site.url + "/"], tmp_path, FAST)
        assert sorted(stored(tmp_path)) == sorted(
            site.url + path for path in ("/", "/a", "/b", "/target", "/nofollow")
        )
        for refused in ("/secret/x", "/aitxt", "/tdm/x", "/art/x", "/never"):
            assert refused not in site.asked
    assert summary.stored == 5 and summary.waiting == 0 and summary.moved == 1
    assert summary.refused == {"opted out": 5, "media type": 1, "robots.txt": 1}
    assert summary.failed == {"HTTP 404": 2}  # /gone, /c
    assert max(map(site.asked.count, site.asked)) == 1
    assert all(agent.startswith("ownlm/") for agent in site.agents)


def test_own_group_wins_over_star(tmp_path: Path) -> None:
    robots = b"User-agent: *\nDisallow: /\n\nUser-agent: OwnLM\nDisallow: /no\n"
    with serve({"/robots.txt": (200, TEXT, robots), "/": page("/no", "/yes"), "/yes": page()}) as site:
        assert crawl([site.url], tmp_path, FAST).stored == 2
        assert "/no" not in site.asked


@pytest.mark.parametrize(("status", "num"), [(404, 1), (403, 1), (500, 0), (503, 0), (429, 0)])
def test_missing_robots_allows_and_unreachable_forbids(tmp_path: Path, status: int, num: int) -> None:
    with serve({"/robots.txt": (status, TEXT, b"User-agent: *\nDisallow: /"), "/": page()}) as site:
        summary = crawl([site.url], tmp_path, FAST)
        assert summary.stored == num
        assert summary.failed == ({} if num else {"robots.txt unreachable": 1})
        assert site.asked.count("/") == num


def test_records_are_complete_and_digests_are_right(tmp_path: Path) -> None:
    body = b"<p>gr\xc3\xbc\xc3\x9fe " + b"x" * 5000
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip", "X-Fold": "a"}
    with serve({"/": (200, headers, gzip.compress(body))}) as site:
        crawl([site.url], tmp_path, FAST)
    info, response, request = members(tmp_path)
    assert [record[0]["WARC-Type"] for record in (info, response, request)] == [
        "warcinfo",
        "response",
        "request",
    ]
    head, _, payload = response[1].partition(b"\r\n\r\n")
    assert payload == body and f"Content-Length: {len(body)}".encode() in head
    assert b"X-Crawler-Content-Encoding: gzip" in head and b"\nContent-Encoding" not in head
    digest = "sha1:" + base64.b32encode(hashlib.sha1(body).digest()).decode()
    assert response[0]["WARC-Payload-Digest"] == digest
    assert request[0]["WARC-Concurrent-To"] == response[0]["WARC-Record-ID"]
    assert request[1].startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:")


def test_retries_then_succeeds_and_counts_what_fails(tmp_path: Path) -> None:
    tries: list[int] = []

    def shaky() -> tuple[int, dict[str, str], bytes]:
        tries.append(1)
        return (503, {"Retry-After": "0"}, b"") if len(tries) < 3 else page()

    pages = {"/": page("/shaky", "/down", "/loop", "/short"), "/shaky": shaky, "/down": (500, {}, b""),
             "/loop": (301, {"Location": "/loop?x"}, b""), "/loop?x": (301, {"Location": "/loop"}, b""),
             "/short": (200, {"Content-Type": "text/html", "Content-Length": "50"}, b"cut")}  # fmt: skip
    with serve(pages) as site:
        summary = crawl([site.url], tmp_path, FAST)
        assert summary.stored == 2 and site.asked.count("/down") == 3
    assert summary.failed == {"HTTP 500": 1, "connection lost": 1} and summary.moved == 2


def test_depth_pages_and_exclude_bound_the_crawl(tmp_path: Path) -> None:
    pages = {f"/{n}": page(f"/{n + 1}", f"/x/{n}") for n in range(9)}
    with serve(pages) as site:
        settings = FAST.model_copy(update={"depth": 3, "exclude": ("/x/",)})
        summary = crawl([site.url + "/0"], tmp_path / "a", settings)
        assert summary.stored == 4 and summary.refused == {"excluded": 3}
        summary = crawl([site.url + "/0"], tmp_path / "b", FAST.model_copy(update={"max_pages": 2}))
        assert summary.stored == 2 and summary.waiting > 0
        assert crawl([site.url + "/0"], tmp_path / "b", FAST).stored == 9  # goes on where it stopped


def test_sitemap_pages_are_found(tmp_path: Path) -> None:
    with serve({}) as site:
        site.pages.update({
            "/robots.txt": (200, TEXT, f"Sitemap: {site.url}/index.xml\n".encode()),
            "/index.xml": (200, TEXT, f"<sitemapindex><sitemap><loc>{site.url}/s.xml.gz</loc></sitemap></sitemapindex>".encode()),
            "/s.xml.gz": (200, TEXT, gzip.compress(f"<urlset><url><loc>{site.url}/hidden?a=1&amp;b=2</loc></url></urlset>".encode())),
            "/": page(), "/hidden?a=1&b=2": page(),
        })  # fmt: skip
        assert crawl([site.url], tmp_path, FAST).stored == 2


def test_delay_is_kept_between_requests(tmp_path: Path) -> None:
    now = [1_000_000.0]
    asked: list[float] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def answer() -> tuple[int, dict[str, str], bytes]:
        asked.append(now[0])
        return page("/1", "/2", "/3")

    robots = (200, TEXT, b"User-agent: *\nCrawl-delay: 7\n")
    pages = {"/robots.txt": robots, **{path: answer for path in ("/", "/1", "/2", "/3")}}
    with serve(pages) as site:
        crawl([site.url], tmp_path, FAST.model_copy(update={"delay": 2.0}), lambda: now[0], sleep)
    assert len(asked) == 4 and all(after - before >= 7 for before, after in zip(asked, asked[1:]))


def test_private_addresses_are_refused_at_connect_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"/": page()}) as site:
        port = site.url.rpartition(":")[2]
        settings = FAST.model_copy(update={"allow_private": False})
        for number, host in enumerate(
            ("127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "0")
        ):
            summary = crawl([f"http://{host}:{port}/"], tmp_path / str(number), settings)
            assert summary.stored == 0 and site.asked == [], host
        # a name that answers with a public and a private address
        answers = [(2, 1, 6, "", ("93.184.216.34", int(port))), (2, 1, 6, "", ("127.0.0.1", int(port)))]
        monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *_, **__: answers)
        with pytest.raises(FetchError, match="private address"):
            fetch(canonical("http://rebind.example/"), Bounds())
        assert site.asked == []


def test_redirect_to_a_private_address_or_other_host_is_not_followed(tmp_path: Path) -> None:
    with serve({"/": (302, {"Location": "http://169.254.169.254/latest/"}, b"")}) as site:
        summary = crawl([site.url], tmp_path, FAST)
    assert summary.refused == {"redirect to another host": 1} and summary.stored == 0


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2001:4860:4860::8888", True), ("10.0.0.1", False), ("100.64.0.1", False),
     ("169.254.169.254", False), ("::1", False), ("fe80::1%eth0", False), ("::ffff:10.0.0.1", False),
     ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("224.0.0.1", False), ("0.0.0.0", False),
     ("192.0.2.1", False), ("fd00::1", False), ("::", False)],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_limits_hold_against_bombs_drips_and_garbage() -> None:
    import socket
    import threading

    bomb = gzip.compress(bytes(30_000_000))
    answers = {
        b"/bomb": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n" + bomb,
        b"/garbage": b"\x00\x01 nonsense\r\n\r\n",
        b"/headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"/line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    }
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            path = peer.recv(4096).split(b" ")[1]
            try:
                if path == b"/drip":
                    for _ in range(100):
                        peer.sendall(b"H")
                        time.sleep(0.02)
                else:
                    peer.sendall(answers[path])
            except OSError:
                pass
            peer.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    bounds = Bounds(seconds=0.3, num_bytes=1 << 20, allow_private=True)
    for path, category in (("/bomb", "too large"), ("/garbage", "bad HTTP answer"), ("/headers", "bad HTTP answer"),
                           ("/line", "bad HTTP answer"), ("/drip", "timed out")):  # fmt: skip
        began = time.monotonic()
        with pytest.raises(FetchError) as caught:
            fetch(canonical(url + path), bounds)
        assert caught.value.category == category, path
        assert time.monotonic() - began < 1.0
    listener.close()


def test_bad_seed_and_second_crawl_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no URL"):
        crawl(["ftp://example.com/"], tmp_path, FAST)
    import fcntl

    with open(tmp_path / "crawl.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match="Another crawl"):
            crawl(["http://127.0.0.1:9/"], tmp_path, FAST)


_RUN = """
import sys
from pathlib import Path
from ownlm.data.crawl.crawl import CrawlSettings, crawl
crawl([sys.argv[1]], Path(sys.argv[2]), CrawlSettings(delay=0.0, retry_seconds=0.01, allow_private=True, sitemaps=False))
"""


def _killed_crawl(folder: Path, waits: list[float]) -> None:
    num_pages = 40
    pages = {f"/{n}": page(f"/{2 * n + 1}", f"/{2 * n + 2}", text="word " * 300) for n in range(num_pages)}
    environment = {**os.environ, "OWNLM_QUIET": "1"}
    with serve(pages) as site:
        kills = 0
        for wait in waits:
            process = subprocess.Popen(
                [sys.executable, "-c", _RUN, site.url + "/0", str(folder)], env=environment
            )
            begun = len(site.asked)
            while len(site.asked) == begun and process.poll() is None:
                time.sleep(0.001)
            time.sleep(wait)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        with open(folder / "crawl-00000.warc.gz", "ab") as file:
            file.write(b"\x1f\x8b half a record")  # what a kill in the middle of a write leaves
        crawl([site.url + "/0"], folder, FAST)
        assert kills > 0
        urls = stored(folder)
        assert sorted(urls) == sorted(f"{site.url}/{n}" for n in range(num_pages))
        again = [path for path in site.asked if re.fullmatch(r"/\d+", path)]
        assert len(again) - len(set(again)) <= kills  # at most the one in flight, per kill


def test_kill_loses_nothing_and_fetches_only_the_page_in_flight_again(tmp_path: Path) -> None:
    _killed_crawl(tmp_path, [0.03])


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    _killed_crawl(tmp_path, [0.002 * n for n in range(20)])
