"""Finding personal data in a text and putting typed placeholders in its place, for a whole text or for a stream.

The text is cut into pieces (segments.py) and every piece is searched on its own, with the BEFORE characters in front
of it as context. So a stream gives exactly what the whole text gives, however it is chunked, and time grows linearly.
An entity longer than half of segments.LONGEST (1,024 characters) may be cut in two and then be missed or found in part;
private keys between BEGIN and END lines are the exception: they are replaced piece by piece, however long.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ownlm import errors
from ownlm.data.privacy import dates, internet, keys, names, national, payment, phones, segments, zips
from ownlm.data.privacy.finding import IDENTIFIERS, KINDS, PLACEHOLDERS, RULED, Finding, settle
from ownlm.data.privacy.plain import plain

# Most sentences hold no identifier; these cheap looks say which detectors can be passed by.
BATCH = 1024  # pieces searched at once
_HOT = re.compile(r"\d|[@\uff20](?![-\s,.@])|://|-----BEGIN")
_MANY = re.compile(
    r"\d(?:(?:[^\w\n]{0,3}\s{0,9}[>#*]?\d){5}|\d{2,4}[^\w\n]{1,3}\d|\d[A-Za-z]\d\d|\d [A-Za-z] \d\d)"
)
_KEY_NAMES = ("key", "secret", "token", "passw", "pwd", "passphrase", "bearer", "authoriz")
_PAPERS = ("dl", "licen", "permis", "rerschein", "pass", "pasa")
_ON_REQUEST: dict[str, Callable[[str], Iterator[Finding]]] = {
    "DOMAIN_NAME": internet.urls,
    "DATE_TIME": dates.dates,
    "AGE": dates.ages,
    "TITLE": dates.titles,
    "ZIP_CODE": zips.zip_codes,
}


@dataclass(frozen=True, slots=True)
class Replaced:
    """One replacement, for audits: where it was in the text that was given, and where its placeholder now is."""

    start: int
    end: int
    kind: str
    placeholder: str
    new_start: int


@dataclass(frozen=True, slots=True)
class Redacted:
    text: str
    replaced: tuple[Replaced, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Replacements per kind, in the order of finding.KINDS."""
        counted = Counter(one.kind for one in self.replaced)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


class Redactor:
    """kinds: names of finding.PLACEHOLDERS; the default are the identifiers. numbered: [PERSON_1] for the first
    person of a text and again wherever the same value comes (letters and digits compared, case ignored); keeps one
    entry per distinct value and text. obfuscated: mail written as "jane (at) example dot org" too.

    Raises UsageError for an unknown kind.
    """

    def __init__(
        self, kinds: Iterable[str] = IDENTIFIERS, *, numbered: bool = False, obfuscated: bool = False
    ) -> None:
        self.kinds = frozenset(kinds)
        self.numbered, self.obfuscated = numbered, obfuscated
        if unknown := sorted(self.kinds - set(KINDS)):
            raise errors.UsageError(
                "Unknown kinds of personal data.", ", ".join(unknown), "Known are: " + ", ".join(KINDS)
            )
        self._with_names = bool(self.kinds - set(RULED))
        self._with_rules = bool(self.kinds & set(IDENTIFIERS))
        self.looks_at_all = bool(self._with_names or obfuscated or self.kinds & set(_ON_REQUEST))
        self._extra = [find for kind, find in _ON_REQUEST.items() if kind in self.kinds or self._with_names]

    def redact(self, text: str) -> Redacted:
        stream = Stream(self)
        return Redacted("".join(stream.run(text, final=True)), tuple(stream.replaced))

    def stream(self, *, audit: bool = False) -> Stream:
        """For text that comes in chunks; audit: keep the list `replaced` (it grows with the text)."""
        return Stream(self, audit=audit)

    def find(self, text: str) -> list[Finding]:
        """What would be replaced, in order, without overlap."""
        return [Finding(one.start, one.end, one.kind) for one in self.redact(text).replaced]

    def in_pieces(self, pieces: Sequence[tuple[str, str]]) -> list[list[Finding]]:
        """Per (context before, piece) what is found in the piece, with offsets into the piece."""
        read = [plain(before + piece) for before, piece in pieces]
        named = names.find([text for text, _ in read]) if self._with_names else ([] for _ in pieces)
        return [
            self._settled(before, piece, text, kept, found)
            for (before, piece), (text, kept), found in zip(pieces, read, named, strict=True)
        ]

    def _settled(
        self, before: str, piece: str, text: str, kept: list[int] | None, named: list[Finding]
    ) -> list[Finding]:
        findings = named
        offset = len(before)
        if self._with_rules:
            same = kept is None and text.endswith(piece)
            findings.extend(_identifiers(text, piece if same else text, self.obfuscated))
        for find in self._extra:
            findings.extend(find(text))
        if kept is not None:
            findings = [Finding(kept[f.start], kept[f.end - 1] + 1, f.kind) for f in findings]
        inside = [Finding(f.start - offset, f.end - offset, f.kind) for f in findings if f.start >= offset]
        if "STREET_ADDRESS" not in self.kinds:  # else an address would hide the code that was asked for
            inside = [finding for finding in inside if finding.kind != "STREET_ADDRESS"]
        return [finding for finding in settle(piece, inside) if finding.kind in self.kinds]


def _next_hot(text: str, start: int) -> int:
    found = _HOT.search(text, start)
    return found.start() if found else len(text)


def _identifiers(text: str, piece: str, obfuscated: bool) -> Iterator[Finding]:
    """Everything of the identifier kinds in `text`; `piece`, its end, decides what is worth looking for."""
    if obfuscated or "@" in text:
        yield from internet.emails(text, obfuscated)
    lower = text.lower()
    if (
        "://" in lower
        or any(name in lower for name in _KEY_NAMES)
        or max(map(len, piece.split()), default=0) >= 20
    ):
        yield from keys.api_keys(text)
        yield from payment.crypto_addresses(text)
    if ":" in piece or piece.count(".") > 2 or "-" in piece:
        yield from internet.mac_addresses(text)
        yield from internet.ip_addresses(text)
    if _MANY.search(piece):
        yield from payment.ibans(text)
        yield from payment.cards(text)
        yield from national.social_security(text)
        yield from national.national_ids(text)
        yield from phones.phones(text)
        if any(word in lower for word in _PAPERS):
            yield from national.papers(text)


class Stream:
    """feed() gives the redacted text that is certain, finish() the rest. Holds back less than segments.LONGEST + 1
    characters, mostly the sentence that is being written."""

    def __init__(self, redactor: Redactor, *, audit: bool = True) -> None:
        self._redactor, self._audit = redactor, audit
        self._buffer = ""  # up to BEFORE characters that are done, then what is pending
        self._done = 0  # how many characters of the buffer are done
        self._gone = 0  # characters of the text that left the buffer
        self._written = 0  # characters given out
        self._keys_near = False  # a private key was named: from here on every piece is looked at
        self._in_key = False  # between BEGIN and END of a private key
        self._numbers: dict[tuple[str, str], int] = {}
        self._highest: Counter[str] = Counter()
        self.replaced: list[Replaced] = []
        self.counts: Counter[str] = Counter()

    def feed(self, chunk: str) -> str:
        return "".join(self.run(chunk, final=False))

    def finish(self) -> str:
        """Ends the text; the stream can be fed another one afterwards only as its continuation."""
        return "".join(self.run("", final=True))

    def run(self, chunk: str, final: bool) -> Iterator[str]:
        self._buffer += chunk
        batch: list[tuple[int, int, int]] = []
        for cut in self._cuts(final):
            batch.append(cut)
            if len(batch) == BATCH:
                yield from self._searched(batch)
                batch = []
        yield from self._searched(batch)
        gone = max(0, self._done - segments.BEFORE)
        self._buffer, self._done, self._gone = self._buffer[gone:], self._done - gone, self._gone + gone

    def _cuts(self, final: bool) -> Iterator[tuple[int, int, int]]:
        """(cold, start, end) per piece to be searched, start to end; between cold and start nothing is to be found."""
        text, start, cold = self._buffer, self._done, self._done
        hot = start  # no identifier begins before this place
        while start < len(text):
            end = segments.next_cut(text, start, final)
            if end is None:
                break
            if hot <= start:
                hot = start if self._redactor.looks_at_all else _next_hot(text, start)
            self._keys_near = self._keys_near or text.find("PRIVATE KEY", start, end) >= 0
            if hot < end or self._keys_near:
                yield cold, start, end
                cold = end
            start = end
        if cold < start:
            yield cold, start, start
        self._done = start

    def _searched(self, batch: list[tuple[int, int, int]]) -> Iterator[str]:
        text = self._buffer
        pieces = [(text[max(0, start - segments.BEFORE) : start], text[start:end]) for _, start, end in batch]
        for (cold, start, end), findings in zip(batch, self._redactor.in_pieces(pieces), strict=True):
            yield self._plain(text[cold:start])
            yield self._piece(text[start:end], self._gone + start, findings)

    def _plain(self, text: str) -> str:
        self._written += len(text)
        return text

    def _piece(self, piece: str, position: int, findings: list[Finding]) -> str:
        if "SECRET" in self._redactor.kinds and self._keys_near and piece:
            findings = settle(piece, [*findings, *self._private_keys(piece)])
        parts: list[str] = []
        last = 0
        length = self._written
        for found in findings:
            mark = self._mark(found.kind, piece[found.start : found.end])
            parts += (piece[last : found.start], mark)
            length += found.start - last
            if self._audit:
                where = position + found.start
                self.replaced.append(Replaced(where, position + found.end, found.kind, mark, length))
            self.counts[found.kind] += 1
            length += len(mark)
            last = found.end
        parts.append(piece[last:])
        self._written = length + len(piece) - last
        return "".join(parts)

    def _private_keys(self, piece: str) -> Iterator[Finding]:
        start = 0
        if self._in_key:
            end = keys.PEM_END.search(piece)
            start = end.end() if end else len(piece)
            self._in_key = end is None
            yield Finding(0, start, "SECRET")
        for match in keys.PEM.finditer(piece, start):
            self._in_key = not keys.PEM_END.search(match.group())
            yield Finding(match.start(), match.end(), "SECRET")

    def _mark(self, kind: str, value: str) -> str:
        if not self._redactor.numbered:
            return f"[{PLACEHOLDERS[kind]}]"
        key = (kind, "".join(c for c in value.casefold() if c.isalnum()))
        if key not in self._numbers:
            self._highest[kind] += 1
            self._numbers[key] = self._highest[kind]
        return f"[{PLACEHOLDERS[kind]}_{self._numbers[key]}]"
