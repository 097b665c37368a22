"""Lists of domains and URL patterns as their files come: hosts files, plain domains, Adblock network rules.

    0.0.0.0 ads.example  tracker.example     hosts file: the address is left out
    example.org      *.example.org           a domain with everything below it
    example.org/forum/                       one part of a site
    ||example.org^   ||example.org/path      Adblock; a rule for scripts, images or one page only says nothing of pages
    @@||good.example.org^                    an exception

`#` and `!` begin comments. Cosmetic rules (##) say nothing about URLs. Any other line is an error, unless told.

Memory: 8 bytes per domain (sorted 64-bit hashes; a wrong match has a chance of about 1 in 10^12 for a million
domains). Names are compared as they are looked up: lower case, punycode (crawl/urls.py).
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from ownlm.data.crawl.robots import matches
from ownlm.data.crawl.urls import Url, ascii_host, canonical
from ownlm.errors import DataError

_LOCAL = frozenset({
    "localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
    "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0", "127.0.0.1", "::1",
})  # fmt: skip
_WHOLE = frozenset({"", "all", "document", "doc", "popup", "important", "third-party", "3p"})
_COSMETIC = re.compile(r"#[@?$%]{0,2}#")
_MOST_LINE = 10_000


@dataclass(slots=True)
class DomainList:
    """Domains (with everything below them) and, per host, path patterns."""

    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))  # sorted
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exceptions: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    def match(self, url: Url) -> str:
        """The listed domain or pattern that holds for a URL, or ""; an exception below it wins."""
        names = parents(url.host)
        found = _first(self.hashes, names)
        if not found and self.patterns:
            for name in names:
                for pattern in self.patterns.get(name, ()):
                    if matches(pattern, url.target):
                        found = found or name + pattern
        return "" if found and _first(self.exceptions, names) else found


def parents(host: str) -> list[str]:
    """a.b.example.org, b.example.org, example.org, org; an address is only itself."""
    if ":" in host or host.replace(".", "").isdigit():
        return [host]
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _first(hashes: np.ndarray, names: list[str]) -> str:
    for name in names if len(hashes) else ():
        key = np.uint64(xxhash.xxh3_64_intdigest(name.encode()))
        at = int(np.searchsorted(hashes, key))
        if at < len(hashes) and hashes[at] == key:
            return name
    return ""


def of_files(paths: tuple[Path, ...], extra: tuple[str, ...] = (), unreadable: str = "error") -> DomainList:
    """The union of list files and of single entries, loaded once per process and state of the files.

    Raises DataError for a file that cannot be read, and for lines that are no rule unless `unreadable` is "ignore".
    """
    try:
        stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    except OSError as error:
        raise DataError("A list of domains cannot be read.", str(error), "check the path") from error
    return _loaded(stamps, extra, unreadable)


@functools.lru_cache(maxsize=16)
def _loaded(stamps: tuple[tuple[Path, int, int], ...], extra: tuple[str, ...], unreadable: str) -> DomainList:
    domains: set[int] = set()
    exceptions: set[int] = set()
    patterns: dict[str, list[str]] = {}
    bad: list[str] = []
    for place, line in _lines(stamps, extra):
        try:
            for host, pattern, excepted in entries(line):
                if pattern:
                    patterns.setdefault(host, []).append(pattern)
                else:
                    (exceptions if excepted else domains).add(xxhash.xxh3_64_intdigest(host.encode()))
        except ValueError as error:
            bad.append(f"{place}: {line[:80]!r}: {error}")
    if bad and unreadable == "error":
        raise DataError(
            f"{len(bad)} lines of the domain lists are no rule that this filter knows.",
            "\n".join(bad[:5]),
            "remove them, or set unreadable: ignore",
        )
    return DomainList(
        np.array(sorted(domains), np.uint64),
        {host: tuple(dict.fromkeys(found)) for host, found in patterns.items()},
        np.array(sorted(exceptions), np.uint64),
    )


def _lines(stamps: tuple[tuple[Path, int, int], ...], extra: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry in extra:
        yield "option", entry
    for path, _, _ in stamps:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            number = 0
            while line := file.readline(_MOST_LINE):
                number += 1
                yield f"{path}:{number}", line


def entries(line: str) -> list[tuple[str, str, bool]]:
    """(host, path pattern or "", whether it is an exception) of one line; none for comments and cosmetic rules.

    Raises ValueError with the reason for a line that is none of the forms above.
    """
    line = line.strip()
    if not line or line[0] in "#![" or _COSMETIC.search(line):
        return []
    excepted = line.startswith("@@")
    rule = line.removeprefix("@@")
    if rule.startswith(("||", "|http")):
        options = {option.strip() for option in rule.partition("$")[2].split(",")}
        return [(*_adblock(rule), excepted)] if options <= _WHOLE else []
    words = line.partition("#")[0].split()
    if len(words) > 1:
        ipaddress.ip_address(words[0].partition("%")[0])  # ValueError: not a hosts file
        return [(ascii_host(name), "", False) for name in words[1:] if name.lower() not in _LOCAL]
    return [(*_place(words[0].removeprefix("*.").lstrip(".")), False)]


def _adblock(rule: str) -> tuple[str, str]:
    rule = rule.partition("$")[0].lstrip("|")
    rule = rule.partition("://")[2] if "://" in rule else rule
    return _place(rule.removesuffix("|").removesuffix("^").removeprefix("*.").replace("^", "*"))


def _place(text: str) -> tuple[str, str]:
    """`example.org` or `example.org/path`: host and path pattern."""
    text = text.partition("://")[2] if "://" in text else text
    host, slash, path = text.partition("/")
    if "*" in host:
        raise ValueError("a star inside the host name")
    if host.startswith("["):
        return canonical(f"http://{host}/").host, slash + path if path else ""
    return ascii_host(host.partition(":")[0] if host.count(":") == 1 else host), slash + path if path else ""
