"""The crawl: one page at a time, the host whose turn it is, until nothing is left or a limit is reached.

For sites that are the user's own or that invite it: one request per host and `delay`, robots.txt and do-not-train
signals obeyed without an option to ignore them (a site that wants to let ownlm in writes `User-agent: ownlm`).
Killed at any moment, the same call goes on; only the page in flight is fetched again.

    FOLDER/crawl-00000.warc.gz ...  pages (warc.py)      FOLDER/frontier.sqlite  what is known (frontier.py)
    FOLDER/summary.json             counts and reasons, written when the crawl ends
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from pydantic import Field

from ownlm.config import Settings
from ownlm.data.crawl import rules, signals
from ownlm.data.crawl.fetch import Bounds, FetchError, Reply, fetch
from ownlm.data.crawl.frontier import Frontier, Link, Page
from ownlm.data.crawl.links import MOST_SITEMAP_BYTES, links, locations
from ownlm.data.crawl.robots import matches
from ownlm.data.crawl.rules import Rules
from ownlm.data.crawl.urls import Url, canonical
from ownlm.data.crawl.warc import WarcFile
from ownlm.data.encoding import decode
from ownlm.errors import MachineError, UsageError
from ownlm.runtime.files import write_json
from ownlm.runtime.progress import Progress

_MOST_REDIRECTS = 5
_MOST_SITEMAPS = 50  # files read per seed
_MOST_WAIT = 3600.0  # seconds that a Retry-After is believed
_WARC_BYTES = 1 << 30
_REDIRECTS = (301, 302, 303, 307, 308)


class CrawlSettings(Settings):
    """What is fetched, how fast, and how much."""

    max_pages: int = Field(1000, ge=1)
    """Pages stored in all, those of earlier runs in the folder included."""
    depth: int = Field(10, ge=0)
    """Most links from a seed to a page."""
    delay: float = Field(1.0, ge=0.0)
    """Seconds between two requests to a host; a longer Crawl-delay of the host wins."""
    same_host: bool = True
    """Stay on the hosts of the seeds (with and without www.)."""
    exclude: tuple[str, ...] = ()
    """Paths not to fetch, as in robots.txt: `/private/`, `*.pdf$`."""
    sitemaps: bool = True
    """Read the sitemaps that robots.txt names, or /sitemap.xml."""
    types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")
    """Media types to store."""
    page_bytes: int = Field(16 << 20, ge=1)
    """Largest page, unpacked."""
    page_seconds: float = Field(30.0, gt=0)
    """Longest time for one page."""
    retries: int = Field(2, ge=0)
    """Further attempts after a timeout, a lost connection, 429 or 5xx."""
    retry_seconds: float = Field(10.0, ge=0)
    """Wait before the first further attempt; threefold for each next one; a Retry-After of the server wins."""
    allow_private: bool = False
    """Also connect to private, loopback and link-local addresses (an intranet of yours)."""


@dataclass(frozen=True, slots=True)
class Summary:
    stored: int
    waiting: int
    moved: int
    refused: dict[str, int]  # reason -> pages
    failed: dict[str, int]
    links_left: int  # links beyond the limit of one page
    files: list[str]


def crawl(
    seeds: Sequence[str], folder: Path, settings: CrawlSettings,
    clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
) -> Summary:  # fmt: skip
    """Crawl from `seeds` into `folder`, or go on with what is there.

    Raises UsageError for a bad seed, ArtifactError for a folder that is no crawl, MachineError when another crawl
    runs in the folder or the disk refuses.
    """
    started = [_seed(text) for text in seeds]
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        frontier = Frontier(folder / "frontier.sqlite")
        crawler = _Crawl(started, folder, settings, frontier, clock, sleep)
        try:
            crawler.run()
            summary = crawler.summary()
        finally:
            crawler.close()
        write_json(folder / "summary.json", asdict(summary))
    return summary


def _seed(text: str) -> Url:
    try:
        return canonical(text)
    except ValueError as error:
        raise UsageError(
            "A start page is no URL.", f"{text}: {error}", "write e.g. https://example.com/"
        ) from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "crawl.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            fix = "wait for it, or crawl into another folder"
            raise MachineError("Another crawl is at work in this folder.", str(folder), fix) from error
        yield
    finally:
        os.close(descriptor)


def _bare(host: str) -> str:
    return host.removeprefix("www.")


class _Crawl:
    def __init__(
        self, seeds: list[Url], folder: Path, settings: CrawlSettings, frontier: Frontier,
        clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._seeds, self._folder, self._settings, self._frontier = seeds, folder, settings, frontier
        self._clock, self._sleep = clock, sleep
        self._hosts = {_bare(url.host) for url in seeds}
        self._bounds = Bounds(
            settings.page_seconds, settings.page_bytes, settings.types, settings.allow_private
        )
        self._rules: dict[str, tuple[Rules, float]] = {}
        self._links_left = int(frontier.fact("links_left") or 0)
        name = frontier.fact("warc") or "crawl-00000.warc.gz"
        self._warc = WarcFile(folder / name, int(frontier.fact("warc_length") or 0))
        frontier.set_facts(warc=name, warc_length=str(self._warc.length))

    def close(self) -> None:
        self._warc.close()
        self._frontier.close()

    def run(self) -> None:
        self._frontier.add(Link(url, 0) for url in self._seeds)
        stored = self._frontier.counts().get("done", 0)
        with Progress("crawl", self._settings.max_pages, "pages", stored) as progress:
            while stored < self._settings.max_pages:
                page, due = self._frontier.next(self._clock())
                if page is not None:
                    self._page(page)
                    counts = self._frontier.counts()
                    waiting = counts.get("new", 0)
                    progress.total = min(self._settings.max_pages, counts.get("done", 0) + waiting)
                    progress.update(counts.get("done", 0) - stored, waiting=str(waiting))
                    stored = counts.get("done", 0)
                elif due > self._clock():
                    self._sleep(min(due - self._clock(), 60.0))
                else:
                    return

    def _page(self, page: Page) -> None:
        """Fetch one page if it may be fetched, and note what became of it."""
        try:
            known = self._rules_of(page.url)
            if known.unreachable:
                raise FetchError("robots.txt unreachable", known.unreachable, again=True)
            against = self._excluded(page.url) or known.refusal(page.url)
            if against:
                self._frontier.finish(page, "refused", against)
            else:
                self._reply(page, self._get(page.url, self._bounds, False))
        except FetchError as error:
            if error.again:
                self._again(page, str(error))
            else:
                state = "refused" if error.category in ("private address", "too large") else "failed"
                self._frontier.finish(page, state, str(error))

    def _excluded(self, url: Url) -> str:
        found = [pattern for pattern in self._settings.exclude if matches(pattern, url.target)]
        return f"excluded: {found[0]}" if found else ""

    def _reply(self, page: Page, reply: Reply) -> None:
        if reply.status in _REDIRECTS:
            self._moved(page, reply)
        elif reply.status == 429 or reply.status >= 500:
            self._again(page, f"HTTP {reply.status}", reply.names.get("retry-after", ""))
        elif reply.status != 200:
            self._frontier.finish(page, "failed", f"HTTP {reply.status}")
        elif reply.media_type not in self._bounds.types:
            self._frontier.finish(page, "refused", f"media type: {reply.media_type[:80] or 'not stated'}")
        else:
            self._store(page, reply)

    def _store(self, page: Page, reply: Reply) -> None:
        found: list[Link] = []
        against = signals.of_headers(reply.headers)
        if "html" in reply.media_type:
            text = decode(reply.body).text
            against = against or signals.of_html(text)
            if page.depth < self._settings.depth and "nofollow" not in self._header_directives(reply):
                targets, left = links(text, page.url)
                self._links_left += left
                found = [Link(url, page.depth + 1) for url in targets if self._in_scope(url)]
        facts = {"links_left": str(self._links_left)}
        if against:
            self._frontier.finish(page, "refused", f"opted out: {against}", found, **facts)
            return
        if self._warc.length >= _WARC_BYTES:
            self._next_file()
        length = self._warc.add(str(page.url), reply)
        facts |= {"warc": self._warc.path.name, "warc_length": str(length)}
        self._frontier.finish(page, "done", "", found, **facts)

    @staticmethod
    def _header_directives(reply: Reply) -> set[str]:
        values = [value for name, value in reply.headers if name.lower() == "x-robots-tag"]
        return {directive for value in values for directive in signals.robots_tag(value)}

    def _moved(self, page: Page, reply: Reply) -> None:
        """The target is a page of its own: it waits its turn and is held against the rules like any other."""
        try:
            target = canonical(reply.names.get("location", ""), page.url)
        except ValueError as error:
            self._frontier.finish(page, "failed", f"bad redirect: {error}")
            return
        if page.redirects >= _MOST_REDIRECTS:
            self._frontier.finish(page, "failed", f"too many redirects: more than {_MOST_REDIRECTS}")
        elif not self._in_scope(target):
            self._frontier.finish(page, "refused", f"redirect to another host: {target.host}")
        else:
            self._frontier.finish(page, "moved", str(target), [Link(target, page.depth, page.redirects + 1)])

    def _again(self, page: Page, reason: str, retry_after: str = "") -> None:
        if page.attempts >= self._settings.retries:
            self._frontier.finish(page, "failed", reason)
            return
        wait = self._settings.retry_seconds * 3.0**page.attempts
        asked = _seconds(retry_after, self._clock())
        if asked is not None:
            wait = min(asked, _MOST_WAIT)
            self._frontier.visited(page.url.origin, self._clock() + wait)
        self._frontier.postpone(page, self._clock() + wait, reason)

    def _in_scope(self, url: Url) -> bool:
        return not self._settings.same_host or _bare(url.host) in self._hosts

    def _rules_of(self, url: Url) -> Rules:
        """The rules of the page's origin: from memory, from the frontier, or fetched when older than a day."""
        origin = url.origin
        now = self._clock()
        if origin not in self._rules:
            stored, read_at = self._frontier.rules(origin)
            if stored:
                self._rules[origin] = Rules(stored), read_at
        known = self._rules.get(origin)
        valid = self._settings.retry_seconds if known and known[0].unreachable else rules.VALID_SECONDS
        if known is None or now - known[1] >= valid:
            stored = rules.read(origin, self._bounds, lambda target, bounds: self._get(target, bounds, True))
            self._rules[origin] = Rules(stored), self._clock()
            self._frontier.set_rules(origin, stored, self._clock())
            if self._settings.sitemaps and _bare(url.host) in self._hosts and not stored["unreachable"]:
                self._sitemaps(url)
        return self._rules[origin][0]

    def _sitemaps(self, url: Url) -> None:
        waiting = self._rules[url.origin][0].robots.sitemaps or [url.origin + "/sitemap.xml"]
        seen: set[str] = set()
        bounds = Bounds(
            self._bounds.seconds, MOST_SITEMAP_BYTES, self._bounds.types, self._bounds.allow_private
        )
        while waiting and len(seen) < _MOST_SITEMAPS:
            try:
                target = canonical(waiting.pop(0), url)
                if str(target) in seen or not self._in_scope(target):
                    continue
                seen.add(str(target))
                reply = self._get(target, bounds, True)
            except (ValueError, FetchError):
                continue  # a sitemap is an offer; without it the links are followed
            places, nested = locations(reply.body) if reply.status == 200 else ([], False)
            if nested:
                waiting += places
            else:
                self._frontier.add(
                    Link(place, 1) for place in map(_maybe, places) if place and self._in_scope(place)
                )

    def _get(self, url: Url, bounds: Bounds, any_type: bool) -> Reply:
        """Fetch when it is the host's turn, and note when the next turn is."""
        wait = self._frontier.next_at(url.origin) - self._clock()
        if wait > 0:
            self._sleep(min(wait, _MOST_WAIT))
        known = self._rules.get(url.origin)
        delay = known[0].delay(self._settings.delay) if known else self._settings.delay
        try:
            return fetch(url, bounds, any_type)
        finally:
            self._frontier.visited(url.origin, self._clock() + delay)

    def _next_file(self) -> None:
        number = int(self._warc.path.name.split("-")[1].split(".")[0]) + 1
        self._warc.close()
        self._warc = WarcFile(self._folder / f"crawl-{number:05d}.warc.gz", 0)

    def summary(self) -> Summary:
        counts = self._frontier.counts()
        reasons = self._frontier.reasons()
        return Summary(
            counts.get("done", 0),
            counts.get("new", 0),
            counts.get("moved", 0),
            {category: pages for state, category, pages in reasons if state == "refused"},
            {category: pages for state, category, pages in reasons if state == "failed"},
            self._links_left,
            sorted(path.name for path in self._folder.glob("crawl-*.warc.gz")),
        )


def _maybe(text: str) -> Url | None:
    try:
        return canonical(text)
    except ValueError:
        return None


def _seconds(retry_after: str, now: float) -> float | None:
    """Retry-After in seconds or as a date; None when it says nothing."""
    if retry_after.strip().isascii() and retry_after.strip().isdigit():
        return float(retry_after.strip()[:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return (
        max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
        if isinstance(date, datetime)
        else None
    )
