"""Invented identifiers in sentences, with their places, and decoys that look like them: to measure redaction.

All are random: check digits are right, nobody owns them. Cards, accounts and keys are built here from the issuers'
formats, not with the detectors' patterns.
"""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections.abc import Callable

import numpy as np

from ownlm.data.privacy.finding import Finding
from ownlm.data.privacy.sentences import Maker

_UPPER, _LOWER, _DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
_ALNUM = string.ascii_letters + _DIGITS
_CARDS = (("4", 16), ("51", 16), ("5425", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16), ("301", 14),
          ("36", 14), ("3530", 16), ("6759", 16), ("62", 16), ("4", 19), ("4", 13))  # fmt: skip
_ACCOUNTS = {
    "DE": "n18", "GB": "a4n14", "FR": "n23", "ES": "n20", "NL": "a4n10", "IT": "a1n22", "PL": "n24", "SE": "n20", "NO": "n11",
    "CH": "n17", "AT": "n16", "BE": "n12", "PT": "n21", "IE": "a4n14", "DK": "n14", "FI": "n14", "AE": "n19", "SA": "n20",
}  # fmt: skip
_CARRIERS = (
    "Please use {} for this.", "It is {}, thanks.", "({})", "see: {}", "{}", "My details: {}", "We noted {} in the file.",
    "Is {} still right?", "<td>{}</td>", '"value": "{}",', "Contact us ({}) any time.", "- {}\n- next", "Updated to {}; please check.",
)  # fmt: skip
_PHONE_CARRIERS = (
    "Call me on {}.", "Tel. {}", "phone: {}", "My number is {}, thanks.", "Fax: {}", "WhatsApp {}", "Reach us at {}", "Mobile {}",
    "Tél. : {}", "Telefon: {}", "Teléfono: {}", "You can text {} after six.",
)  # fmt: skip


class Planter:
    """Draws sentences with one identifier, or with a decoy and none, from one generator."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.maker = Maker(random)

    def planted(self, kind: str) -> tuple[str, list[Finding]]:
        """A sentence and where its one identifier of that kind stands."""
        value = self.value(kind)
        carrier = self.maker.pick(_PHONE_CARRIERS if kind == "PHONE_NUMBER" else _CARRIERS)
        if kind == "US_SSN" and "-" not in value:
            carrier = "SSN {}"
        start = carrier.index("{}")
        return carrier.replace("{}", value), [Finding(start, start + len(value), kind)]

    def value(self, kind: str) -> str:
        makers: dict[str, Callable[[], str]] = {
            "EMAIL_ADDRESS": self._mail,
            "CREDIT_CARD": self._card,
            "IBAN_CODE": self._iban,
            "US_SSN": self._ssn,
            "PHONE_NUMBER": self._phone,
            "IP_ADDRESS": self._ip,
            "SECRET": self._secret,
        }
        return makers[kind]()

    def decoy(self) -> str:
        """A sentence without personal data that looks as if it had some."""
        n, m = self.random.integers(1, 9999, 2)
        hexadecimal = self._some("0123456789abcdef", 40)
        ordinary = (
            f"Version {n % 20}.{m % 50}.{n % 7}.{m % 9} was released in {1950 + n % 70}.",
            f"commit {hexadecimal} by the release bot",
            f"request id {uuid.UUID(int=int(hexadecimal[:32], 16))}",
            f"ISBN 978-{n % 10}-{m % 900 + 100}-{n % 90000 + 10000}-{m % 10}",
            f"The total is {n * 1000:,} of {m * 1000000:,} units, {n / 7:.4f} per cent.",
            f"On {1950 + n % 70}-{1 + n % 12:02d}-{1 + m % 28:02d} at {n % 24:02d}:{m % 60:02d}:{n % 60:02d} the run ended.",
            f"Between {1850 + n % 99} and {1950 + m % 70}, {n} people came.",
            f"timestamp={1700000000000 + n * m} level=info",
            f"pip install thing=={n % 9}.{m % 30}.{n % 5}",
            "std::vector<std::pair<int, int>> a; a::b c; x = d::e(f);",
            f"@decorator\ndef at_{n}(x): return x @ weights[{m}]",
            f"sha256:{self._some('0123456789abcdef', 64)}",
            f"Order number {n}{m} has {m} rows; pages {n}-{n + 20}.",
            f"mean 0.{n}{m} +- 0.000{n}, range {n}.{m}-{n + 1}.{m}",
            f"{n} {m % 900 + 100} {n % 900 + 100} people live there.",
            "token = tokenizer.next_token(); password = get_password(user); api_key: str",
            f"Listening on 127.0.0.1:{1024 + n} and 0.0.0.0:{1024 + m}, mask 255.255.255.0",
            f"{n % 90 + 10}.{m % 90 + 10}.{n % 90 + 10}, table {n % 30}.{m % 30}.{n % 5}.{m % 7}",
        )
        return self.maker.pick(ordinary)

    def _some(self, characters: str, count: int) -> str:
        return "".join(characters[i] for i in self.random.integers(0, len(characters), count))

    def _mail(self) -> str:
        first, last = (self.maker.slot(name).split()[0].lower().strip("'-") for name in ("first", "last"))
        user = self.maker.pick(
            (f"{first}.{last}", f"{first}{last}", f"{first[0]}_{last}", f"{first}+{self._some(_DIGITS, 3)}")
        )
        host = self.maker.pick(
            ("example.com", "mail.example.org", "firma-beispiel.de", "univ.ac.uk", "shop.co.in", "münchen.de")
        )
        return f"{user}@{host}"

    def _card(self) -> str:
        head, length = _CARDS[int(self.random.integers(len(_CARDS)))]
        body = head + self._some(_DIGITS, length - len(head) - 1)
        doubled = sum(
            (int(d) * 2 - 9 if int(d) > 4 else int(d) * 2) if i % 2 == 0 else int(d)
            for i, d in enumerate(body[::-1])
        )
        digits = body + str(-doubled % 10)
        separator = self.maker.pick(("", "", " ", "-"))
        if length == 16:
            return separator.join(digits[i : i + 4] for i in range(0, 16, 4))
        return separator.join((digits[:4], digits[4:10], digits[10:])) if length in (14, 15) else digits

    def _iban(self) -> str:
        country = self.maker.pick(list(_ACCOUNTS))
        form, letters = _ACCOUNTS[country], ""
        if form[0] == "a":
            letters, form = self._some(_UPPER, int(form[1])), form[2:]
        account = letters + self._some(_DIGITS, int(form[1:]))
        number = "".join(str(int(c, 36)) for c in f"{account}{country}00")
        iban = f"{country}{98 - int(number) % 97:02d}{account}"
        return iban if self.maker.chance(0.5) else " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))

    def _ssn(self) -> str:
        area = int(self.random.integers(1, 899))
        parts = (
            f"{area + (area == 666):03d}",
            f"{self.random.integers(1, 99):02d}",
            f"{self.random.integers(1, 9999):04d}",
        )
        return self.maker.pick(("-", "-", " ")).join(parts)

    def _phone(self) -> str:
        d = self._some("23456789", 14)
        return self.maker.pick(
            (
                f"({d[:3]}) {d[3:6]}-{d[6:10]}", f"{d[:3]}-{d[3:6]}-{d[6:10]}", f"+1 {d[:3]} {d[3:6]} {d[6:10]}", f"{d[:3]}.{d[3:6]}.{d[6:10]}",
                f"+44 20 7{d[:3]} {d[3:7]}", f"07{d[:3]} {d[3:9]}", f"020 7{d[:3]} {d[3:7]}", f"+33 6 {d[:2]} {d[2:4]} {d[4:6]} {d[6:8]}",
                f"06 {d[:2]} {d[2:4]} {d[4:6]} {d[6:8]}", f"01.{d[:2]}.{d[2:4]}.{d[4:6]}.{d[6:8]}", f"+49 30 {d[:8]}", f"030/{d[:7]}",
                f"0171 {d[:7]}", f"+34 6{d[:2]} {d[2:5]} {d[5:8]}", f"9{d[:2]} {d[2:5]} {d[5:8]}", f"+91 9{d[:4]} {d[4:9]}", f"9{d[:4]} {d[4:9]}",
                f"+39 333 {d[:7]}", f"+81 90-{d[:4]}-{d[4:8]}", f"+55 11 9{d[:4]}-{d[4:8]}", f"0041 44 {d[:3]} {d[3:5]} {d[5:7]}",
                f"{d[:3]}-{d[3:6]}-{d[6:10]} x{d[10:13]}", f"+353 1 {d[:3]} {d[3:7]}", f"+46 (0)8 {d[:3]} {d[3:5]} {d[5:7]}",
            )
        )  # fmt: skip

    def _ip(self) -> str:
        if self.maker.chance(0.7):
            return ".".join(str(int(part)) for part in self.random.integers(11, 120, 4))
        groups = [f"{int(part):x}" for part in self.random.integers(4096, 65535, 8)]
        return ":".join(groups) if self.maker.chance(0.5) else f"2001:db8:{groups[0]}::{groups[1]}"

    def _secret(self) -> str:
        part = json.dumps({"sub": self._some(_DIGITS, 10), "name": "x"}).encode()
        claims = base64.urlsafe_b64encode(part).decode().rstrip("=")
        return self.maker.pick(
            (
                "AKIA" + self._some(_UPPER + "234567", 16), "ghp_" + self._some(_ALNUM, 36), "github_pat_" + self._some(_ALNUM, 60),
                "glpat-" + self._some(_ALNUM, 20), f"xoxb-{self._some(_DIGITS, 12)}-{self._some(_ALNUM, 24)}", "sk-" + self._some(_ALNUM, 48),
                "sk-proj-" + self._some(_ALNUM, 64), "sk-ant-api03-" + self._some(_ALNUM + "-", 80) + "AA", "sk_live_" + self._some(_ALNUM, 24),
                "AIza" + self._some(_ALNUM, 35), "hf_" + self._some(_ALNUM, 34), "npm_" + self._some(_ALNUM, 36),
                f"SG.{self._some(_ALNUM, 22)}.{self._some(_ALNUM, 43)}", f"eyJhbGciOiJIUzI1NiJ9.{claims}.{self._some(_ALNUM, 43)}",
                "dop_v1_" + self._some("0123456789abcdef", 64), "shpat_" + self._some("0123456789abcdef", 32),
            )
        )  # fmt: skip
