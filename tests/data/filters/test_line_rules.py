"""C4 and the line rules remove exactly the lines they name; rules of size keep and drop at their thresholds."""

from __future__ import annotations

import pytest

from ownlm.data.clean import Clean
from ownlm.data.filters.c4 import C4
from ownlm.data.filters.lines import LineFilter
from ownlm.data.filters.short import Paragraphs, ShortDocuments, Symbols
from ownlm.data.flow.step import Note, run_alone
from ownlm.data.quality import BasicQuality
from ownlm.errors import UsageError
from ownlm.records import Document, Drop

GOOD = "The first sentence is right here.\nIs the second one a question?\nThe third one ends like this!"


def out(step, text, **meta):
    """What the step makes of a text: ({change: count}, the new text or None, the reason or "")."""
    *notes, last = run_alone(step, [Document("id", text, "source", meta=meta)])
    assert all(isinstance(item, Note) for item in notes)
    counts = {item.change: item.count for item in notes}
    return (counts, None, last.reason) if isinstance(last, Drop) else (counts, last.text, "")


def test_c4_keeps_a_good_page_as_it_is():
    document = Document("id", GOOD, "source")
    assert run_alone(C4(), [document])[0] is document


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("one two three four five", "no terminal punctuation"),
        ("one two three four five...", "no terminal punctuation"),
        ("one two three four.", "too few words"),
        ("please turn on your JavaScript now.", "javascript"),
        ("this page uses cookies for you.", "policy"),
        ("read our Privacy Policy here now.", "policy"),
        ("one two three four " + "x" * 1001 + ".", "word too long"),
        ("one two three four five.", ""),
        ('"one two three four five"', ""),
        ("one two three four " + "x" * 999 + ".", ""),
        ("मेरे पास एक किताब है।", ""),
        ("我们经常需要大量的文本。", ""),
        ("我们需要。", "too few words"),
    ],
)
def test_c4_lines(line, rule):
    counts, text, _ = out(C4(), f"{GOOD}\n{line}")
    assert counts == ({f"lines removed: {rule}": 1} if rule else {})
    assert text == (GOOD if rule else f"{GOOD}\n{line}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.partition("\n")[2], "too few sentences: 2 in the lines that stay, at least 3"),
        (GOOD.replace("\n", " "), ""),  # three sentences of one line
        (GOOD + " Lorem Ipsum", "lorem ipsum: 1 times, at most 0"),
        (GOOD + "\nif (x) { y }", "curly brackets: 2, at most 0"),
        ("", "too few sentences: 0 in the lines that stay, at least 3"),
        ("A version number 1.2.3 and an address a.b.c are no sentence ends here.", "too few sentences: 1 in the "
         "lines that stay, at least 3"),
    ],
)  # fmt: skip
def test_c4_pages(text, reason):
    assert out(C4(), text)[2] == reason


def test_c4_citations():
    counts, text, _ = out(C4(), GOOD.replace("here.", "here[12][citation needed]."))
    assert text == GOOD and counts == {"citation marks removed": 2}


def test_c4_bad_words(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("Darn\nfour letter word\n馬鹿\n", encoding="utf-8")
    step = C4(bad_words=path)
    assert out(step, GOOD)[2] == out(step, GOOD + " Darned letters, four word.")[2] == ""
    assert out(step, GOOD + " Well, DARN!")[2] == "bad words: 1, at most 0"
    assert out(step, GOOD + " A four-letter word.")[2] == "bad words: 1, at most 0"
    assert out(step, GOOD + " この馬鹿者。")[2] == "bad words: 1, at most 0"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_c4_refuses_a_list_that_it_cannot_use(tmp_path, content):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="list of bad words"):
        run_alone(C4(bad_words=path), [Document("id", GOOD, "source")])


BODY = (
    "This is a paragraph with quite a number of ordinary words in it, so that a line more or less is no matter. "
    * 3
)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("THIS IS LOUD", "upper case"),
        ("ABc abc", ""),  # 2 of 6 letters
        ("ABCabc", "single word"),  # 3 of 6 letters is not above one half
        ("2024-11-21 12:30", "numeric"),
        ("1,234", "numeric"),
        ("3 likes", "counter"),
        ("12.5k Followers", "counter"),
        ("3 men in a boat", ""),
        ("Home", "single word"),
        ("Stop!", ""),
        ("Sign in to your account", "boilerplate"),
        ("the whole story, read more...", "boilerplate"),
        ("2 items in cart", "boilerplate"),
        ("Sign in the hall says that all of the guests must leave at noon", ""),  # more than 10 words
        ("你好世界", ""),
        ("----", ""),
        ("", ""),
    ],
)
def test_line_filter(line, rule):
    step = LineFilter(max_removed_words=None)
    counts, text, _ = out(step, f"{BODY}\n{line}\n{BODY}")
    assert counts == ({f"lines removed: {rule}": 1} if rule else {})
    assert text == (f"{BODY}\n{BODY}" if rule else f"{BODY}\n{line}\n{BODY}")


def test_line_filter_drops_what_is_mostly_boilerplate():
    # 2 words of 40 are 5 %, 2 of 39 are more
    words = " ".join(["word"] * 36)
    assert out(LineFilter(), f"{words} and that\nshare this")[1] == f"{words} and that"
    assert (
        out(LineFilter(), f"{words} word\nshare this")[2] == "words in removed lines: 0.05128, at most 0.05"
    )
    assert out(LineFilter(max_removed_words=None), "Home\nLogin")[2] == "no lines left: 2 removed"
    assert (
        out(LineFilter(phrases=("our partners",), max_removed_words=1.0), f"{words}\nour partners are")[1]
        == words
    )
    assert out(LineFilter(min_words_per_line=4, max_removed_words=1.0), f"{words}\none two three")[1] == words


def test_line_filter_leaves_a_document_without_such_lines_alone():
    document = Document("id", BODY + "\r\n\n" + BODY, "source")
    assert run_alone(LineFilter(), [document])[0] is document
    assert out(LineFilter(), "")[1] == ""


def test_short_documents():
    assert out(ShortDocuments(), "x" * 300)[1]
    assert out(ShortDocuments(), " \n" * 99 + "x" * 299)[2] == "too few characters: 299, at least 300"
    step = ShortDocuments(min_characters=0, min_lines=3)
    assert out(step, "a\n \nb\nc")[1] and out(step, "a\n\n\nb")[2] == "too few lines: 2, at least 3"


def test_paragraphs():
    line = "x" * 200 + "\n"
    assert out(Paragraphs(), line * 3)[1] == line * 3
    assert out(Paragraphs(), line * 2 + "x" * 199)[2] == "too few paragraphs: 2 of 200 characters, at least 3"
    block = "wrapped\n" * 26 + "\r\n"
    assert out(Paragraphs(unit="block"), block * 3)[1] and out(Paragraphs(), block * 3)[2]
    assert (
        out(Paragraphs(unit="block"), block * 2)[2] == "too few paragraphs: 2 of 200 characters, at least 3"
    )
    assert out(Paragraphs(min_characters=0), "a\n\n\n\nb")[2].startswith("too few paragraphs: 2")


def test_symbols():
    assert out(Symbols(), "abc 12्é +=-*")[1]
    assert out(Symbols(), "aaaaaa ++++")[1]
    assert out(Symbols(), "aaaaa ++++")[2] == "symbols: 0.4444, at most 0.4"


def test_clean_step_repairs_and_counts():
    counts, text, _ = out(Clean(), "a\0b\r\nc", encoding="cp1252", num_replaced=2)
    assert text == "ab\nc"
    assert counts == {"decoded from cp1252": 1, "undecodable places replaced": 2, "line ends changed": 1,
                      "control characters removed": 1}  # fmt: skip
    assert out(Clean(), "\0\x01")[2] == "empty after repair"
    fine = Document("id", "fine text\n", "source")
    assert run_alone(Clean(), [fine])[0] is fine


def test_basic_quality_drops_what_is_no_text():
    assert BasicQuality().model_dump() == {
        "min_bytes": 50, "min_letter_share": 0.25, "max_same_line_share": 0.3, "max_same_line_characters": 0.2,
        "max_blob_share": 0.5, "max_replaced_share": 0.02,
    }  # fmt: skip
    assert out(BasicQuality(), "too little")[2].startswith("too short: 9 bytes")
    assert out(BasicQuality(min_bytes=5), "too little")[1] == "too little"
    assert out(BasicQuality(), "\ud800" * 100)[2].startswith("undecodable")


HOSTILE = ["a", "\n", "[1", ". ", ".", '."', "1", "1,", " \n\t\n", "A b\n", "a {", "{", "我\n", "X"]


@pytest.mark.parametrize("step", [C4(), LineFilter(), Paragraphs(unit="block"), ShortDocuments(), Symbols()])
def test_hostile_text_is_answered(step):
    """A quarter of a megabyte of each; work that grows with the square would take minutes, far above the time limit."""
    documents = [
        Document(str(n), text * (250_000 // len(text)) + "x", "source") for n, text in enumerate(HOSTILE)
    ]
    answers = [item for item in run_alone(step, documents) if not isinstance(item, Note)]
    assert [item.source for item in answers] == ["source"] * len(HOSTILE)
