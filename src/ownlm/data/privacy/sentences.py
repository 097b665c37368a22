"""Sentences with marked names, made from templates and word lists: what the name model learns addresses and forms from.

Half of the names are spliced from two others, so that the model meets names that are on no list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ownlm.data.privacy import gazetteer as lists
from ownlm.data.privacy.stories import WORDS
from ownlm.data.privacy.templates import TEMPLATES

Marked = list[tuple[str, str]]  # text and its label, "O" between
_SLOT = re.compile(r"\{(\w+)\}")
_LABEL = {
    "name": "PERSON",
    "first": "PERSON",
    "last": "PERSON",
    "org": "ORGANIZATION",
    "city": "GPE",
    "country": "GPE",
    "group": "NRP",
    "street": "STREET_ADDRESS",
    "house": "STREET_ADDRESS",
    "flat": "STREET_ADDRESS",
    "zip": "ZIP_CODE",
    "job": "TITLE",
}


class Maker:
    """Draws from one generator; the same seed gives the same sentences."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def sentence(self) -> Marked:
        template = self.pick(TEMPLATES)
        if self.random.random() < 0.15:
            template = f"{template} {self.pick(TEMPLATES)}"
        parts: Marked = []
        last = 0
        style = self.random.random()
        for match in _SLOT.finditer(template):
            parts.append((template[last : match.start()], "O"))
            made = (
                self._address()
                if match[1] == "address"
                else [(self.slot(match[1]), _LABEL.get(match[1], "O"))]
            )
            upper = style > 0.82 and match[1] in ("city", "country", "address")
            parts += [(value.upper() if upper and label == "GPE" else value, label) for value, label in made]
            last = match.end()
        parts.append((template[last:], "O"))
        if style < 0.07:
            parts = [(text.lower(), label) for text, label in parts]
        return [part for part in parts if part[0]]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.random.integers(len(options)))]

    def number(self, low: int, high: int) -> str:
        return str(int(self.random.integers(low, high)))

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def slot(self, name: str) -> str:
        return str(getattr(self, f"_{name}")())

    def spliced(self, options: list[str]) -> str:
        """An entry, or the head of one with the tail of another."""
        word = self.pick(options)
        if self.chance(0.55):
            other = self.pick(options).split()[-1]
            word = (
                word.split()[0][: int(self.random.integers(2, 6))]
                + other[max(1, len(other) // 2 - 1) :].lower()
            )
        return word

    def _first(self) -> str:
        return self.spliced(lists.FIRST_NAMES)

    def _last(self) -> str:
        last = self.spliced(lists.LAST_NAMES)
        return f"{last}-{self.pick(lists.LAST_NAMES)}" if self.chance(0.03) else last

    def _name(self) -> str:
        name = f"{self._first()} {self._last()}"
        draw = self.random.random()
        if draw < 0.15:
            return f"{self._first()} {self.pick('ABCDEFGHJKLMNPRSTVW')}{self.pick(('.', '.', ''))} {self._last()}"
        if draw < 0.2:
            return f"{self._first()} {name}"
        if draw < 0.25:
            return f"{self._first()} {self.pick(('van der', 'de', 'von', 'al', 'da', 'ten', 'bin', 'della'))} {self._last()}"
        if draw < 0.27:
            return f"{name} {self.pick(('Jr.', 'II', 'III', 'Sr.', 'PhD', 'MD'))}"
        return name

    def _org(self) -> str:
        """Firms and bodies: coined words, two words or more, families, letters, a known name at times."""
        draw = self.random.random()
        word, other = self.pick(lists.FIRM_WORDS), self.pick(lists.FIRM_WORDS)
        end = self.pick((*lists.COMPANY_ENDS, *lists.FIRM_KINDS))
        if draw < 0.06:
            return f"{word} {other} {self.pick(lists.FIRM_WORDS)}"
        if draw < 0.16:
            return f"{self.spliced([*lists.LAST_NAMES, *lists.CITIES])} {end}"
        if draw < 0.26:
            return f"{self._last()}-{self._last()}"
        if draw < 0.36:
            return f"{self._last()}, {self._last()} and {self._last()}"
        if draw < 0.5:
            return f"{word} {other}"
        if draw < 0.6:
            return f"{word} {other} {end}"
        if draw < 0.72:
            return word + other.lower() + self.pick(("", "", "", " Inc", " Corp", " LLC", ".com", " Group"))
        if draw < 0.78:
            return word + other
        if draw < 0.88:
            head = self.pick((word, other, self.pick(lists.FIRST_NAMES), self.pick(lists.LAST_NAMES)))
            return head[: int(self.random.integers(3, 8))] + self.pick(lists.FIRM_TAILS)
        if draw < 0.91:
            return f"{self._last()} {self.pick(('&', 'and'))} {self.pick((self._last(), 'Sons', 'Co'))}"
        if draw < 0.97:
            return self.pick(lists.FIRMS)
        return "".join(self.pick("ABCDEFGHIKLMNOPRSTUV") for _ in range(int(self.random.integers(2, 5))))

    def _title(self) -> str:
        """A title of a film, song or chapter: ordinary words in capitals that name nobody."""
        first, *rest = (self.pick(WORDS) for _ in range(int(self.random.integers(1, 5))))
        joint = self.pick(("of the", "in the", "and the", "for a", "with", "to", "Is", "and", "of", "on"))
        words = [first, *((joint, *rest[:2]) if rest and self.chance(0.5) else rest)]
        title = " ".join(
            word if word in ("of", "and", "to", "with") or " " in word else word.capitalize()
            for word in words
        )
        return f"{self.pick(('The ', 'The ', 'A ', 'My ', '', '', '', ''))}{title}"

    def _city(self) -> str:
        city = self.spliced(lists.CITIES)
        if self.chance(0.08):
            city += self.pick(
                (
                    " Springs",
                    " Village",
                    " Heights",
                    " Bay",
                    " Creek",
                    "mouth",
                    "ton",
                    "burg",
                    "ville",
                    " Point",
                )
            )
        return city

    def _country(self) -> str:
        return (
            self.pick(lists.COUNTRIES)
            if self.chance(0.85)
            else self.pick(("AZ", "NY", "CO", "NSW", "QC", "BE", "TX"))
        )

    def _group(self) -> str:
        return self.pick(lists.GROUPS)

    def _job(self) -> str:
        job = self.pick(lists.JOBS)
        if self.chance(0.3):
            job = f"{self.pick(lists.JOBS).split()[0]} {job.split()[-1]}"
        return self.pick((job, job.capitalize(), job.capitalize(), job.title()))

    def _house(self) -> str:
        return (
            self.number(1, 100)
            if self.chance(0.4)
            else self.number(1, 99999).zfill(int(self.random.integers(1, 6)))
        )

    def _flat(self) -> str:
        return f"{self.pick(('Apt.', 'Suite', 'Unit', 'Apt', 'Flat', 'Floor', '#'))} {self.number(1, 999).zfill(3)}"

    def _street(self) -> str:
        name = self.spliced(lists.LAST_NAMES + lists.CITIES)
        name = name.capitalize() if " " not in name else name
        draw = self.random.random()
        if draw < 0.3:
            street = f"{name} {self.pick(lists.STREETS_AFTER)}"
        elif draw < 0.42:
            street = f"{self._first()} {self._last()} {self.pick(lists.STREETS_AFTER)}"
        elif draw < 0.6:
            street = f"{self.pick(lists.STREETS_BEFORE)} {self.pick(('', '', 'de ', 'della ', 'du '))}{name}"
        elif draw < 0.85:
            street = name + self.pick(lists.STREETS_JOINED)
        else:
            street = name
        number = self.number(1, 300) + self.pick(("", "", "", "a", "."))
        draw = self.random.random()
        if draw < 0.5:
            return f"{street} {number}"
        return f"{number} {street}" if draw < 0.9 or street == name else street

    def _address(self) -> Marked:
        """A whole address in one of many layouts, its parts marked as such: addresses.py puts them together."""
        road = "STREET_ADDRESS"
        if self.chance(0.08):
            box = f"PSC {self.number(1000, 9999)}, Box {self.number(1000, 9999)}"
            ship = f"{self.pick(('USS', 'USNS', 'USCGC', 'USNV'))} {self._last()}"
            head = self.pick((box, ship, f"Unit {self.number(1000, 9999)} Box {self.number(1000, 9999)}"))
            office = f"{self.pick(('APO', 'FPO', 'DPO'))} {self.pick(('AE', 'AA', 'AP'))}"
            return [(f"{head}\n{office} {self.number(10000, 99999)}", road)]
        if self.chance(0.1):
            head = self.pick(("the corner of ", "")) + self.pick(
                (self._street(), self._first(), self._last())
            )
            return [(f"{head} and {self.pick((self._street(), self._road()))}", road)]
        street = self._street() if self.chance(0.9) else f"P.O. Box {self.number(1, 999)}"
        house = f"{self._house()} " if self.chance(0.5) else ""
        flat = f" {self._flat()}" if self.chance(0.6) else ""
        gap = self.pick((" ", "\n", ", ", "\n ", "\n    "))
        street = f"{house}{street}{flat.replace(' ', gap, 1) if self.chance(0.4) else flat}"
        if self.chance(0.12):
            return [(street, road)]
        city, country, code = ((self._city(), "GPE"), (self._country(), "GPE"), (self._zip(), "ZIP_CODE"))
        layouts: tuple[tuple[tuple[str, str] | str, ...], ...] = (
            (city, ", ", country),
            (city,),
            (city, "\n, ", country, "\n ", code),
            (city, " ", country),
            (city, gap, country, " ", code),
            (code, " ", city),
            (city, ", ", country, " ", code),
            (city, " ", code),
            (city, gap, country, gap, code),
        )
        rest = layouts[int(self.random.integers(len(layouts)))]
        return [
            (street, road),
            (gap, "O"),
            *((part, "O") if isinstance(part, str) else part for part in rest),
        ]

    def _road(self) -> str:
        """A street without a number that says nothing but that it has two words."""
        return f"{self._last()} {self.pick(lists.STREETS_AFTER)}"

    def _zip(self) -> str:
        digits = self.number(0, 99999).zfill(5)
        letters = self.pick("ABCEGHJKL") + digits[0] + self.pick("ABCEGHJKL")
        return self.pick(
            (
                digits,
                digits,
                digits[:4],
                f"{digits[:3]} {digits[3:]}",
                f"{digits}-{self.number(100, 999)}",
                f"{letters} {digits[1]}B{digits[2]}",
            )
        )

    def _date(self) -> str:
        year, month, day = self.number(1950, 2025), self.number(1, 13), self.number(1, 29)
        return self.pick(
            (
                year,
                year,
                f"{month}/{day}/{year}",
                f"{year}-{month.zfill(2)}-{day.zfill(2)}",
                "Monday",
                "Friday",
            )
        )

    def _phone(self) -> str:
        return self.pick(
            (
                f"{self.number(200, 999)}-{self.number(200, 999)}-{self.number(1000, 9999)}",
                f"0{self.number(10, 999)} {self.number(100, 999)} {self.number(1000, 9999)}",
                f"+{self.number(20, 99)} {self.number(100, 999)} {self.number(100000, 999999)}",
                f"{self.number(10, 99)} {self.number(100, 999)} {self.number(100, 999)}",
            )
        )

    def _num(self) -> str:
        return self.number(2, int(self.pick(("20", "100", "5000", "99999999"))))

    def _mail(self) -> str:
        return f"{self._first()}{self._last()}@{self.pick(lists.FIRM_WORDS).lower()}.com".replace(" ", "")
