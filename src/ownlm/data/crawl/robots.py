"""robots.txt after RFC 9309, with the two things the RFC leaves out: Crawl-delay and the preference lines.

What governs us: the group of our own product token `ownlm`, or, when there is none, the group `*`. Groups of other
agents (GPTBot, CCBot, Google-Extended ...) are not for us and do not bind us; a site that wants us out names us or
everyone. Lines of agents with the same token are one group. Among the rules that match, the longest pattern wins and
Allow wins a tie; `*` matches anything, `$` the end. Percent-encoding is evened out on both sides. As in Google's
published parser, other lines do not end a run of User-agent lines, and a few common misspellings are read.

Preference lines inside a group: `Content-Usage: [path] train-ai=n` (IETF AIPREF) and `Content-Signal: ai-train=no`.

The standard library's urllib.robotparser is not used: it takes the first matching rule instead of the longest,
knows no `*` and no `$` inside paths, and matches agents by substring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ownlm.data.crawl.urls import even_escapes

TOKEN = "ownlm"
MOST_BYTES = 500 * 1024  # RFC 9309, section 2.5: at least this much must be parsed
MOST_DELAY = 3600.0  # seconds; more than this is taken as a mistake
_LINE = re.compile(r"[\r\n]+")
_TOKEN = re.compile(r"[a-zA-Z_-]+|\*")
_AGENT = frozenset({"user-agent", "useragent", "user agent"})
_DISALLOW = frozenset({"disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"})
_SITEMAP = frozenset({"sitemap", "site-map"})
_PREFERENCE = frozenset({"content-usage", "content-signal"})
_SPACED = re.compile(r"(\S+)[ \t]+(\S+)$")  # a line that forgot its colon


@dataclass(frozen=True, slots=True)
class Rule:
    allow: bool
    pattern: str


@dataclass(slots=True)
class Group:
    rules: list[Rule] = field(default_factory=list)
    delay: float | None = None  # seconds
    preferences: list[tuple[str, str]] = field(default_factory=list)  # path pattern ("" for all), statement


@dataclass(slots=True)
class Robots:
    """A parsed robots.txt. Without any group everything is allowed."""

    groups: dict[str, Group] = field(default_factory=dict)
    sitemaps: list[str] = field(default_factory=list)

    def group(self, token: str = TOKEN) -> Group:
        return self.groups.get(token.lower()) or self.groups.get("*") or Group()

    def allows(self, target: str, token: str = TOKEN) -> bool:
        """Whether the agent may fetch path-and-query `target`. /robots.txt itself is always allowed."""
        return self.rule(target, token).allow

    def rule(self, target: str, token: str = TOKEN) -> Rule:
        """The rule that decides; Rule(True, "") when none matches."""
        target = even_escapes(target)
        best = Rule(True, "")
        if target == "/robots.txt":
            return best
        for rule in self.group(token).rules:
            longer = len(rule.pattern) > len(best.pattern)
            tied = len(rule.pattern) == len(best.pattern) and rule.allow
            if (longer or tied) and matches(rule.pattern, target):
                best = rule
        return best

    def preferences(self, target: str, token: str = TOKEN) -> list[str]:
        """The preference statements for a path: those of the longest pattern that matches."""
        target = even_escapes(target)
        found = [(len(path), text) for path, text in self.group(token).preferences if matches(path, target)]
        longest = max((length for length, _ in found), default=0)
        return [text for length, text in found if length == longest]


def matches(pattern: str, target: str) -> bool:
    """Whether an RFC 9309 path pattern matches the beginning of `target`. Linear: each piece is sought once."""
    anchored = pattern.endswith("$")
    first, *rest = (pattern[:-1] if anchored else pattern).split("*")
    if not target.startswith(first):
        return False
    at = len(first)
    if not rest:
        return not anchored or at == len(target)
    for piece in rest[:-1]:
        found = target.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    last = rest[-1]
    if anchored:
        return len(target) - len(last) >= at and target.endswith(last)
    return target.find(last, at) >= 0


def parse(text: str | bytes) -> Robots:
    """Never raises: a line that is no rule is no rule. What lies beyond MOST_BYTES is not read."""
    if isinstance(text, bytes):
        text = text[:MOST_BYTES].decode("utf-8", "replace")
    robots = Robots()
    agents: list[Group] = []
    ruled = False  # whether the agents above already have a rule: then the next User-agent line begins a new group
    for line in _LINE.split(text[:MOST_BYTES].removeprefix("\ufeff")):
        key, value = _pair(line)
        if key in _AGENT:
            agents, ruled = ([], False) if ruled else (agents, ruled)
            found = _TOKEN.match(value)
            if found:
                agents.append(robots.groups.setdefault(found.group().lower(), Group()))
        elif key == "allow" or key in _DISALLOW:
            ruled = ruled or bool(agents)
            if value:
                rule = Rule(key == "allow", _pattern(value))
                for group in agents:
                    group.rules.append(rule)
        elif key == "crawl-delay":
            for group in agents:
                group.delay = _seconds(value, group.delay)
        elif key in _PREFERENCE:
            path, statement = _preference(value)
            for group in agents:
                group.preferences.append((path, statement))
        elif key in _SITEMAP and value:
            robots.sitemaps.append(value)
    return robots


def _pair(line: str) -> tuple[str, str]:
    line = line.partition("#")[0].strip()
    key, colon, value = line.partition(":")
    if not colon:
        spaced = _SPACED.fullmatch(line)
        key, value = spaced.groups() if spaced else (line, "")
    return key.strip().lower(), value.strip()


def _pattern(value: str) -> str:
    """Percent-encoding evened out as in the URLs that it is compared with; runs of stars are one star."""
    anchor = "$" if value.endswith("$") else ""
    body = value.removesuffix("$")
    return re.sub(r"\*+", "*", even_escapes(body)) + anchor


def _preference(value: str) -> tuple[str, str]:
    """`/images/ train-ai=n` -> ("/images/", "train-ai=n"); the path may be missing."""
    first, _, rest = value.partition(" ")
    return (_pattern(first), rest.strip()) if first.startswith(("/", "*")) and rest else ("", value)


def _seconds(value: str, before: float | None) -> float | None:
    try:
        delay = float(value)
    except ValueError:
        return before
    return max(delay, before or 0.0) if 0 <= delay <= MOST_DELAY else before
