"""One spelling per URL, so that two spellings of one page are one page and a block list cannot be talked around.

After the WHATWG URL standard where browsers and crawlers must agree on the host: tabs and line breaks vanish, a
backslash is a slash, userinfo is cut, the host is percent-decoded, evened out (NFKC, lower case, ideographic dots),
written as punycode, and every numeric spelling of an IPv4 address becomes four decimals. Beyond it, for one spelling
per page: dot segments, default ports, fragments and the usual advertising parameters go; percent-encoding is
uppercase and only where needed (RFC 3986, section 6.2.2). The query keeps its order.

Deviation: labels are lower-cased and NFKC-normalized, not run through the whole UTS 46 table; "ß" stays itself.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

MOST_CHARACTERS = 8192
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,31}):")
_BAD_HOST = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_ESCAPE = re.compile(rb"%[0-9a-fA-F]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT_PATH = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/%")
_KEPT_QUERY = _KEPT_PATH | frozenset(b"?")
_TRACKING = re.compile(r"(?:utm_[a-z_]+|gclid|fbclid|msclkid|dclid|mc_eid|igshid)(?:=|$)", re.I)


@dataclass(frozen=True, slots=True)
class Url:
    """A canonical http(s) URL. `host` is ASCII (an IPv6 address without brackets); `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def place(self) -> str:
        """Host, and the port where it is not the scheme's own: what robots.txt and the delay are kept for."""
        named = f"[{self.host}]" if ":" in self.host else self.host
        return named if self.port == _PORTS[self.scheme] else f"{named}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.place}"

    def __str__(self) -> str:
        return self.origin + self.target


def canonical(text: str, parent: Url | None = None) -> Url:
    """The canonical form of an absolute URL, or of a reference on the page `parent`.

    Raises ValueError with the reason: not http(s), no host, a host that no name can have, a bad port, too long.
    """
    text = text.strip("".join(map(chr, range(33))))
    text = text.replace("\t", "").replace("\n", "").replace("\r", "")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"longer than {MOST_CHARACTERS} characters")
    text = text.partition("#")[0]
    scheme, rest = _scheme(text, parent)
    front, question, query = rest.partition("?")
    front = front.replace("\\", "/")
    if front.startswith("//") or parent is None:
        authority, slash, path = front.lstrip("/").partition("/")
        host, port = _authority(authority, scheme)
        return Url(scheme, host, port, _target(slash + path, question, query))
    if not front:
        path = parent.target.partition("?")[0]
        question, query = (question, query) if question else ("?", parent.target.partition("?")[2])
    elif front.startswith("/"):
        path = front
    else:
        path = parent.target.partition("?")[0].rpartition("/")[0] + "/" + front
    return Url(parent.scheme, parent.host, parent.port, _target(path, question, query))


def _scheme(text: str, parent: Url | None) -> tuple[str, str]:
    """The scheme, and the text after its colon. `http:page` without slashes is relative to an http parent."""
    found = _SCHEME.match(text)
    if found:
        scheme = found.group(1).lower()
        if scheme not in _PORTS:
            raise ValueError(f"not http or https: {scheme}")
        rest = text[found.end() :]
        if parent is not None and not rest.startswith(("/", "\\")) and scheme != parent.scheme:
            rest = "//" + rest
        return scheme, rest
    if parent is None:
        raise ValueError("no scheme: write http:// or https:// before it")
    return parent.scheme, text


def _authority(authority: str, scheme: str) -> tuple[str, int]:
    place = authority.rpartition("@")[2]
    if place.startswith("["):
        inside, bracket, after = place[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError("bad IPv6 address")
        host, digits = inside, after[1:]
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise ValueError("bad IPv6 address") from error
    else:
        name, _, digits = place.partition(":")
        host = ascii_host(name)
    if digits and not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536):
        raise ValueError("bad port")
    return host, int(digits) if digits else _PORTS[scheme]


@lru_cache(maxsize=4096)
def ascii_host(name: str) -> str:
    """A host name as it is looked up: lower case, punycode, no dot at the end. Raises ValueError."""
    if "%" in name:
        name = unquote_to_bytes(name).decode("utf-8", "replace")
    name = unicodedata.normalize("NFKC", name.translate(_DOTS).replace("\xad", "")).lower()
    name = name.translate(_DOTS).removesuffix(".")
    labels = [label if label.isascii() else _punycode(label) for label in name.split(".")]
    host = ".".join(labels)
    if not host or "" in labels or len(host) > 253 or max(map(len, labels)) > 63 or _BAD_HOST.search(host):
        raise ValueError("no host name" if not host else "a host name that cannot exist")
    return _ipv4(labels) if _is_number(labels[-1]) else host


def _punycode(label: str) -> str:
    return "xn--" + unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")


def _is_number(label: str) -> bool:
    return bool(re.fullmatch(r"\d+|0x[0-9a-f]*", label))


def _ipv4(labels: list[str]) -> str:
    """Four decimals for 127.1, 0x7f.0.0.1, 017700000001, 2130706433 (the WHATWG IPv4 parser)."""
    if len(labels) > 4:
        raise ValueError("a host name that cannot exist")
    numbers = []
    for label in labels:
        radix = 16 if label.startswith("0x") else 8 if len(label) > 1 and label.startswith("0") else 10
        digits = label[2:] if radix == 16 else label
        try:
            numbers.append(int(digits, radix) if digits else 0)
        except ValueError as error:
            raise ValueError("bad IPv4 address") from error
    if any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError("bad IPv4 address")
    value = sum(number << (24 - 8 * place) for place, number in enumerate(numbers[:-1])) + numbers[-1]
    return str(ipaddress.IPv4Address(value))


def _target(path: str, question: str, query: str) -> str:
    target = _without_dots(even_escapes(path, _KEPT_PATH))
    if question and query:
        query = "&".join(part for part in query.split("&") if not _TRACKING.match(part))
        if query:
            target += "?" + even_escapes(query, _KEPT_QUERY)
    return target


def even_escapes(text: str, kept: frozenset[int] = _KEPT_QUERY) -> str:
    """Percent-encoding evened out: unreserved characters plain, everything outside `kept` as uppercase %XX."""
    if not text.isascii() or "%" in text:
        data = _ESCAPE.sub(_even_escape, text.encode("utf-8", "replace"))
    else:
        data = text.encode("ascii")
    return "".join(chr(code) if code in kept else f"%{code:02X}" for code in data)


def _even_escape(found: re.Match[bytes]) -> bytes:
    code = int(found.group()[1:], 16)
    return bytes([code]) if code in _UNRESERVED else found.group().upper()


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    out: list[str] = []
    parts = path.split("/")[1:] or [""]
    for part in parts:
        if part == "..":
            if out:
                out.pop()
        elif part != ".":
            out.append(part)
    if parts[-1] in (".", ".."):
        out.append("")
    return "/" + "/".join(out)
