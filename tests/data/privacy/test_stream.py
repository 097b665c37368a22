"""A stream gives what the whole text gives, wherever it is cut; the look-back is bounded; time is linear."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest
from growth import check_growth
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.privacy import segments
from ownlm.data.privacy.finding import KINDS
from ownlm.data.privacy.planted import Planter
from ownlm.data.privacy.redact import Redacted, Redactor
from ownlm.data.privacy.sentences import Maker
from ownlm.runtime import seed

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
IDENTIFIERS, ALL = Redactor(numbered=True), Redactor(KINDS, numbered=True)
HARD = (
    "Call +44 20 7946\n0958 or 4111 1111\n1111 1111. Dr. A. Smith of 12 Via Roma\nlives in Oslo.\n\n\n\nMail a.b@c.de! "
    "-----BEGIN PRIVATE KEY-----\nMIIE0aB1\n\nk9Zq. Xy7\n-----END PRIVATE KEY-----\nJo\u200be@exam\u200bple.org; ssn 536-90-4399?\nYes."
)


def fed(redactor: Redactor, text: str, cuts: list[int]) -> Redacted:
    stream = redactor.stream(audit=True)
    ends = [0, *sorted(cuts), len(text)]
    parts = [stream.feed(text[start:end]) for start, end in zip(ends, ends[1:], strict=False)]
    parts.append(stream.finish())
    return Redacted("".join(parts), tuple(stream.replaced))


def sentences(count: int) -> list[str]:
    random = seed.generator(3, "test", "stream")
    maker, planter = Maker(random), Planter(random)
    kinds = ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "PHONE_NUMBER", "IP_ADDRESS", "SECRET")
    made = []
    for index in range(count):
        person = "".join(text for text, _ in maker.sentence())
        made.append(f"{person} {planter.planted(kinds[index % 7])[0]} {planter.decoy()}")
    return made


@pytest.mark.parametrize("redactor", [IDENTIFIERS, ALL], ids=["identifiers", "all"])
def test_cut_at_every_position(redactor: Redactor) -> None:
    cut_everywhere(redactor, [HARD, *sentences(6)] if redactor is IDENTIFIERS else [HARD[-150:]])


@pytest.mark.slow
@pytest.mark.parametrize("redactor", [IDENTIFIERS, ALL], ids=["identifiers", "all"])
def test_many_cut_at_every_position(redactor: Redactor) -> None:
    cut_everywhere(redactor, sentences(200 if redactor is IDENTIFIERS else 20))


def cut_everywhere(redactor: Redactor, texts: list[str]) -> None:
    for text in texts:
        whole = redactor.redact(text)
        for cut in range(len(text) + 1):
            assert fed(redactor, text, [cut]) == whole, (cut, text)


@pytest.mark.parametrize("redactor", [IDENTIFIERS, ALL], ids=["identifiers", "all"])
def test_one_character_at_a_time(redactor: Redactor) -> None:
    text = HARD + " " + " ".join(sentences(4))
    assert fed(redactor, text, list(range(len(text)))) == redactor.redact(text)


PIECES = st.sampled_from(
    [" ", "\n", "\n\n", ". ", "a", "A", "Dr. ", "é", "1", "4111", " 1111", "@", "a@b.de", "://", "-", "+44 20 7946 0958",
     "\u200b", "key=", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "x" * 1500, " " * 1200, "9" * 700]
)  # fmt: skip


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(PIECES | st.text(max_size=12), max_size=30), st.lists(st.integers(0, 4000), max_size=8))
def test_any_text_any_cuts(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    assert fed(IDENTIFIERS, text, [cut for cut in cuts if cut < len(text)]) == IDENTIFIERS.redact(text)


def test_held_back_is_bounded() -> None:
    stream = IDENTIFIERS.stream()
    given_in = given_out = 0
    for text in ("x" * 5000, " word" * 2000, "\n" * 5000, "12 " * 3000, "Done. And "):
        for start in range(0, len(text), 100):
            given_out += len(stream.feed(text[start : start + 100]))
            given_in += len(text[start : start + 100])
            assert given_in - given_out <= segments.LONGEST
    assert given_out + len(stream.finish()) == given_in


def test_a_sentence_is_given_out_when_the_next_begins() -> None:
    stream = Redactor().stream()
    assert stream.feed("My mail is a@x.org. ") == ""
    assert stream.feed("T") == "My mail is [EMAIL]. "
    assert stream.finish() == "T"


def test_public_sentences_streamed() -> None:
    path = DATA / "safety_pii" / "synth_dataset_v2.part.json.gz"
    if not path.exists():
        pytest.skip(f"needs {path.name}; set OWNLM_TEST_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    random = seed.generator(4, "test", "cuts")
    text = "\n".join(row["full_text"] for row in rows[:60])
    cuts = [int(cut) for cut in random.integers(0, len(text), 40)]
    assert fed(ALL, text, cuts) == ALL.redact(text)


HOSTILE = {
    "digits": "1", "at signs": "@", "dotted": "a.a.", "brackets": "([{", "digit groups": "12 ", "dashes": "1-", "colons": "a:1:", "spaces": " ",
    "line breaks": "\n", "quotes": '"key="', "stops": "A. ", "plus": "+1(", "long word": "aB3", "mail parts": "a@a.", "zero width": "1\u200b", "slashes": "://",
    "begin": "-----BEGIN PRIVATE KEY-----", "eyJ": "eyJaaaaaaaa.", "greek": "Α ", "password": "password is ", "passport": "passport ", "dl": "DL ",
    "iban": "GB82 ", "months": "may may", "www": "www.a.",
}  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_grows_linearly(unit: str) -> None:
    """Eight times the text takes far less than the 64 times of quadratic work, and no text is slower than 4 kB/s.

    The slow tier has the sharp bar (five times for four) at sizes a clock can judge."""
    text = unit * (40_000 // len(unit))
    check_growth(lambda size: seconds(IDENTIFIERS, text[:size]), 5_000, len(text), most=24)
    assert seconds(IDENTIFIERS, text) < 10


def seconds(redactor: Redactor, text: str) -> float:
    start = time.process_time()
    redactor.redact(text)
    return time.process_time() - start


@pytest.mark.parametrize("unit", ["St. ", "12 Via Roma\n", "Anna Oslo\n", "Anna ", "aB", ", Anna", "a", "\n"])
def test_the_name_model_takes_linear_time(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    check_growth(lambda size: seconds(ALL, text[:size]), 5_000, len(text), most=24)


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_eight_mebibytes(unit: str) -> None:
    text = unit * ((8 << 20) // len(unit))
    redactor = Redactor()
    check_growth(lambda size: seconds(redactor, text[:size]), 2 << 20, 8 << 20, most=5)


def test_the_context_before_a_piece_counts() -> None:
    assert Redactor().redact('Your SSN? "536904399" please.').text == 'Your SSN? "[SSN]" please.'
    assert Redactor().redact('Your row? "536904399" please.').text == 'Your row? "536904399" please.'
