"""The step `language`: what it drops, with which reason, and what it writes."""

import pytest
from pydantic import ValidationError

from ownlm.data.filters.language import Language
from ownlm.data.flow.step import Note, Step, run_alone
from ownlm.records import Document, Drop

EN = "The committee will publish its report next week, after the members have read it. "
DE = "Der Ausschuss wird seinen Bericht nächste Woche veröffentlichen, nachdem ihn alle gelesen haben. "


def one(step, text):
    (result,) = [
        out
        for out in run_alone(step, [Document("a", text, "a.txt", meta={"x": 1})])
        if not isinstance(out, Note)
    ]
    return result


def test_keeps_and_annotates():
    kept = one(Language(), EN)
    assert isinstance(Language(), Step)
    assert kept.meta["language"] == "en" and kept.meta["language_score"] > 0.95 and kept.meta["x"] == 1
    assert kept.text == EN


def test_drops_with_language_and_score():
    dropped = one(Language(), DE)
    assert isinstance(dropped, Drop) and dropped.reason in ("language: de 0.99", "language: de 1.00")
    assert one(Language(), "12 34").reason == "language unknown: 0 letters"
    assert one(Language(unknown="keep"), "12 34").meta["language"] == "unknown"


def test_uncertain_and_mixed():
    both = EN * 20 + DE * 20
    assert one(Language(), both).reason.startswith(("language uncertain: ", "language: "))
    kept = one(Language(min_prob=0.3, languages=["any"]), both)
    assert set(kept.meta["languages"]) == {"en", "de"}
    assert one(Language(languages=["any"], mixed="drop"), both).reason.startswith("language mixed: ")
    assert one(Language(languages=["de", "en"]), both).meta["language"] in ("de", "en")


def test_settings_are_checked():
    assert Language(languages="no").languages == ("nb", "nn")
    for wrong in ({"languages": []}, {"languages": ["xx"]}, {"min_prob": 1.5}, {"min_probability": 0.5}):
        with pytest.raises(ValidationError):
            Language(**wrong)
