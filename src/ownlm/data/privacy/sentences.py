"""Sentences with marked names, made from templates and word lists: what the name model learns addresses and forms from.

Half of the names are spliced from two others, so that the model meets names that are on no list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ownlm.data.privacy import gazetteer as lists
from ownlm.data.privacy.templates import SUBJECTS, TEMPLATES

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
    "address": "STREET_ADDRESS",
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
            value = self.slot(match[1])
            parts.append((_styled(value, style, match[1]), _LABEL.get(match[1], "O")))
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
        draw = self.random.random()
        subject = self.pick(SUBJECTS)
        if draw < 0.06:
            return f"{subject} {self.pick(SUBJECTS)} {self.pick(SUBJECTS)}"
        if draw < 0.2:
            return f"{self._last()} {self.pick(lists.COMPANY_ENDS)}"
        if draw < 0.32:
            return f"{self._last()}-{self._last()}"
        if draw < 0.42:
            return f"{self._last()}, {self._last()} and {self._last()}"
        if draw < 0.62:
            return f"{subject} {self.pick(SUBJECTS)}"
        if draw < 0.7:
            return f"{subject} {self.pick(SUBJECTS)} {self.pick(lists.COMPANY_ENDS)}"
        if draw < 0.9:
            return (
                subject
                + self.pick(SUBJECTS).lower()
                + self.pick(("", "", "", " Inc", " Corp", " Ltd", ".com"))
            )
        if draw < 0.97:
            return self.spliced(list(SUBJECTS)).capitalize()
        return "".join(self.pick("ABCDEFGHIKLMNOPRSTUV") for _ in range(int(self.random.integers(2, 5))))

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

    def _address(self) -> str:
        """A whole address in one of many layouts."""
        if self.chance(0.06):
            return f"PSC {self.number(1000, 9999)}, Box {self.number(1000, 9999)}\nAPO {self.pick(('AE', 'AA', 'AP'))} {self._zip()}"
        if self.chance(0.08):
            return f"the corner of {self._street()} and {self._street()}"
        street = self._street() if self.chance(0.9) else f"P.O. Box {self.number(1, 999)}"
        house = f"{self._house()} " if self.chance(0.5) else ""
        flat = f" {self._flat()}" if self.chance(0.6) else ""
        gap = self.pick((" ", "\n", ", ", "\n ", "\n    "))
        end = self.pick(
            (
                f"{self._city()}, {self._country()}",
                f"{self._city()}",
                f"{self._city()}\n, {self._country()}\n {self._zip()}",
                f"{self._city()} {self._country()}",
                f"{self._city()}{gap}{self._country()} {self._zip()}",
                f"{self._zip()} {self._city()}",
                f"{self._city()}, {self._country()} {self._zip()}",
                f"{self._city()} {self._zip()}",
            )
        )
        return house + street + flat + gap + end if self.chance(0.85) else house + street + flat

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
        return f"{self._first()}{self._last()}@{self.pick(SUBJECTS).lower()}.com".replace(" ", "")


def _styled(value: str, style: float, slot: str) -> str:
    """Places are often written in capitals, in addresses and forms."""
    if slot in ("city", "country", "address") and style > 0.82:
        return value.upper() if slot != "address" else _last_upper(value)
    return value


def _last_upper(address: str) -> str:
    head, separator, tail = address.rpartition("\n" if "\n" in address else ", ")
    return head + separator + tail.upper()
