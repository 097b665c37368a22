"""E-mail addresses, web addresses, IP and MAC addresses. Each function yields findings in plain text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ownlm.data.privacy.finding import Finding

# Starts only where no other local character stands before, so that a long run is looked at once.
EMAIL = re.compile(
    r"(?<![\w.%+\-])(?P<local>[\w.%+\-'&]{1,64})@"
    r"(?P<domain>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,6}(?P<top>xn--[a-z0-9-]{2,20}|[^\W\d_]{2,18}))(?![\w@-]|\.[^\W_])"
)
OBFUSCATED = re.compile(
    r"(?<![\w.%+\-])[\w.%+\-]{1,64}"
    r"(?:\s{0,2}[\[({<]\s?(?:at|@|AT|arobase|arroba)\s?[\])}>]\s{0,2}|\s(?:at|AT)\s)"
    r"[\w-]{1,63}(?:(?:\s{0,2}[\[({<]\s?(?:dot|DOT|\.|punkt|point|punto)\s?[\])}>]\s{0,2}|\s(?:dot|DOT)\s|\.)[\w-]{2,63}){1,4}"
)
_SPELLED = re.compile(r"[\[({<]|\s(?:dot|DOT)\s")
_FILES = frozenset(
    "png jpg jpeg gif svg webp css js mjs json html htm service socket timer so py md txt".split()  # noqa: SIM905
)
URL = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftps?|wss?)://|www\d?\.(?=[\w-]+\.))[^\s<>\"'`{}|\\^\[\]]{2,2000}",
    re.IGNORECASE,
)
IPV4 = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\d)")
IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})?(?![\w:]|\.\w)"
)
MAC = re.compile(r"(?<![\w:.-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
_VERSION = re.compile(
    r"(?:(?<![^\W_])(?:version|ver|release|build|firmware|update|patch|v|section|sec|chapter|clause|rule|figure|table|§)"
    r"(?:_{1,2})?[ .:=\"']{0,5}|[A-Za-z]/|[=~<>!]=|\^|~)$",
    re.IGNORECASE,
)


def emails(text: str, obfuscated: bool = False) -> Iterator[Finding]:
    """With `obfuscated`, "jane (at) example dot org" too. git@host: and file names like icon@2x.png are no mail."""
    if "@" in text:
        for match in EMAIL.finditer(text):
            local = match["local"].lstrip("'.-&")
            if not local or match["top"].lower() in _FILES:
                continue
            if local == "git" and text[match.end() : match.end() + 1] in (":", "/"):
                continue
            yield Finding(match.end("local") - len(local), match.end(), "EMAIL_ADDRESS")
    if obfuscated:
        for match in OBFUSCATED.finditer(text):
            if _SPELLED.search(match.group()):
                yield Finding(match.start(), match.end(), "EMAIL_ADDRESS")


def urls(text: str) -> Iterator[Finding]:
    """Web addresses with a scheme or www; a stop or bracket that ends a sentence is not part of one."""
    if "://" not in text and "www" not in text.lower():
        return
    for match in URL.finditer(text):
        found = match.group().rstrip(".,;:!?*")
        while found.endswith(")") and found.count("(") < found.count(")"):
            found = found[:-1].rstrip(".,;:!?*")
        yield Finding(match.start(), match.start() + len(found), "DOMAIN_NAME")


def _of_someone(address: str) -> bool:
    """Parses, and is not a name for "this machine", "any address" or a netmask."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or address.startswith("255."))


def ip_addresses(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6. Version numbers (after "version", "v", "Name/", "==") and C++ names like std::abc are none."""
    if text.count(".") > 2:
        for match in IPV4.finditer(text):
            before = text[max(0, match.start() - 20) : match.start()]
            if _of_someone(match.group()) and not (_VERSION.search(before) and "://" not in before):
                yield Finding(match.start(), match.end(), "IP_ADDRESS")
    if text.count(":") > 1:
        for match in IPV6.finditer(text):
            found = match.group()
            groups = [group for group in found.split(":") if group]
            telling = any(c.isdigit() for c in found) and (len(groups) > 2 or len(groups[0]) == 4)
            if telling and _of_someone(found):
                yield Finding(match.start(), match.end(), "IP_ADDRESS")


def mac_addresses(text: str) -> Iterator[Finding]:
    for match in MAC.finditer(text):
        octets = match.group().replace("-", ":").lower()
        if octets not in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
            yield Finding(match.start(), match.end(), "MAC_ADDRESS")
