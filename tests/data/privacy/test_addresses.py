"""Addresses put together from their parts, and firms told from places by where they stand."""

from __future__ import annotations

import pytest

from ownlm.data.privacy.addresses import assembled, firms
from ownlm.data.privacy.finding import Finding

STREET, PLACE, CODE, PERSON, FIRM = "STREET_ADDRESS", "GPE", "ZIP_CODE", "PERSON", "ORGANIZATION"


def found(marked: str) -> tuple[str, list[Finding]]:
    """The text without its marks, and what is marked: <street>, [place], {code}, (person)."""
    text, findings, start = "", [], 0
    kinds = {">": STREET, "]": PLACE, "}": CODE, ")": PERSON}
    for character in marked:
        if character in "<[{(":
            start = len(text)
        elif character in kinds:
            findings.append(Finding(start, len(text), kinds[character]))
        else:
            text += character
    return text, findings


def pieces(marked: str) -> list[tuple[str, str]]:
    text, findings = found(marked)
    return [(text[one.start : one.end], one.kind) for one in assembled(text, findings)]


@pytest.mark.parametrize(
    "marked",
    [
        "Send it to <12 Via Roma>\n [Oslo], [Norway] {0150} today.",
        "<12 Via Roma>, [Oslo], [Norway]",
        "Address: <12 Via Roma> [Oslo] [Norway]",
        "Address: <12 Via Roma> (Oslo Nord)",
        "Here is where I live now:\n<12 Via Roma>\n[Oslo]\n[Norway]",
        "(Jane Fuller)\n<12 Via Roma>\n[Oslo]\n[Norway] {0150}",
        "At <12 Via Roma> Floor 3 [Oslo] [Norway]",
    ],
)
def test_one_address(marked: str) -> None:
    parts = pieces(marked)
    text, findings = found(marked)
    street = next(one for one in findings if one.kind == STREET)
    assert parts[-1] == (text[street.start : findings[-1].end], STREET)
    assert all(kind == PERSON for _, kind in parts[:-1])


def test_a_lone_place_after_a_comma_stays() -> None:
    assert pieces("She lives at <12 Via Roma>, [Oslo]") == [("12 Via Roma", STREET), ("Oslo", PLACE)]


@pytest.mark.parametrize("mark", ["", "* ", "??? ", "   "])
def test_a_block_of_lines_is_told_apart(mark: str) -> None:
    marked = f"(Jane Fuller)\n\n{mark}<12 Via Roma>\n{mark}[Oslo]\n{mark}[Norway] {{0150}}"
    assert pieces(marked)[1:] == [
        ("12 Via Roma", STREET), ("Oslo", PLACE), ("Norway", PLACE), ("0150", STREET)
    ]  # fmt: skip


def test_what_is_no_address_stays() -> None:
    for marked in (
        "[Oslo], [Norway] {0150}",
        "<12 Via Roma> is where [Oslo] begins, in [Norway]",
        "(Jane) in [Oslo]",
    ):
        text, findings = found(marked)
        assert list(assembled(text, findings)) == findings


def test_the_firm_on_a_card() -> None:
    text, findings = found("(Jane Fuller)\n[Evidera]\n<12 Via Roma>\n[Oslo]")
    assert [one.kind for one in firms(text, findings)] == [PERSON, FIRM, STREET, PLACE]
    for marked in (
        "(Jane Fuller), [Evidera]\n<12 Via Roma>",
        "(Jane)\n[Oslo]\n[Norway]",
        "[Oslo]\n<12 Via Roma>",
    ):
        text, findings = found(marked)
        assert list(firms(text, findings)) == findings
