"""Combining licences: nothing is lost, unknown stays unknown."""

from __future__ import annotations

import pytest

from ownlm.govern.licence import combine


@pytest.mark.parametrize(
    ("licences", "expression", "hub"),
    [
        ({"MIT": 3}, "MIT", "mit"),
        ({"PSF-2.0": 3}, "PSF-2.0", "other"),
        ({"MIT": 3, "Apache-2.0": 1}, "Apache-2.0 AND MIT", "other"),
        ({"MIT OR Apache-2.0": 3, "ISC": 1}, "ISC AND (MIT OR Apache-2.0)", "other"),
        ({"MIT": 3, "unknown": 1}, "unknown (known part: MIT)", "unknown"),
        ({"": 1, "unknown": 1}, "unknown", "unknown"),
        ({}, "unknown", "unknown"),
        ({"GPL-3.0-or-later": 1}, "GPL-3.0-or-later", "gpl-3.0"),
        ({"LicenseRef-NOTICE.txt": 1}, "LicenseRef-NOTICE.txt", "other"),
    ],
)
def test_expression_and_hub_id(licences: dict[str, int], expression: str, hub: str) -> None:
    found = combine(licences)
    assert (found.expression, found.hub_id) == (expression, hub)


def test_shares_add_up_and_the_largest_is_first() -> None:
    found = combine({"MIT": 1, "PSF-2.0": 6, "": 2, "unknown": 1})
    assert [(s.licence, s.documents) for s in found.shares] == [("PSF-2.0", 6), ("unknown", 3), ("MIT", 1)]
    assert sum(s.share for s in found.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("licence", "words"),
    [("GPL-3.0", "same terms"), ("CC-BY-SA-4.0", "same terms"), ("CC-BY-NC-4.0", "commercial"), ("CC-BY-ND-4.0", "derived works"),
     ("CC-BY-NC-SA-4.0", "commercial")],
)  # fmt: skip
def test_remarks(licence: str, words: str) -> None:
    assert any(words in remark and licence in remark for remark in combine({licence: 1, "MIT": 9}).remarks)


def test_plain_licences_need_no_remark() -> None:
    assert combine({"MIT": 1, "Apache-2.0": 5, "NCSA": 1}).remarks == ()
    assert "no licence" in combine({}).remarks[0]
