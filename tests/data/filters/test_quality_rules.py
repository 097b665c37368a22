"""Every rule of Gopher and FineWeb keeps the text just inside its threshold and drops the one just outside.

The texts are built so that the measured value can be counted by hand; all other rules are off.
"""

from __future__ import annotations

import pytest

from ownlm.data.filters.fineweb import FineWebQuality
from ownlm.data.filters.gopher import GopherQuality
from ownlm.data.filters.repetition import GopherRepetition
from ownlm.data.flow.step import Note, Step, run_alone
from ownlm.records import Document, Drop

NO_GRAMS = {"max_top_grams": (None,) * 3, "max_duplicate_grams": (None,) * 6}


def only(step, option):
    """The step with one option at its default and every other rule off."""
    off = {name: None for name in step.model_fields if name.startswith(("min_", "max_")) and name != option}
    if step is GopherRepetition:
        off |= {name: value for name, value in NO_GRAMS.items() if name != option}
    return step(**off)


def judged(step, text, **meta):
    """("", text) when kept, (reason, "") when dropped; notes besides."""
    out = run_alone(step, [Document("id", text, "source", meta=meta)])
    last = out[-1]
    assert all(isinstance(item, Note) for item in out[:-1])
    return last.reason if isinstance(last, Drop) else ""


def lines(*counts):
    """Lines of three different words each: `counts` is (kind, number) pairs; the text ends without a newline."""
    made = [form.format(number) for form, count in counts for number in range(count)]
    return "\n".join(made)


GOPHER = [
    ("min_words", "word " * 50, "word " * 49, "too few words: 49, at least 50"),
    ("max_words", "w " * 100_000, "w " * 100_001, "too many words: 100001, at most 100000"),
    ("min_mean_word_length", "abc " * 10, "abc " * 9 + "ab", "short words: 2.9, at least 3"),
    ("max_mean_word_length", "tenletters " * 10, "tenletters " * 9 + "elevenchars", "long words: 10.1, at most 10"),
    ("max_symbol_word_ratio", "# " + "word " * 9, "# " + "word " * 8, "hash signs per word: 0.1111, at most 0.1"),
    ("max_symbol_word_ratio", "... " + "word " * 9, "… " + "word " * 8, "ellipses per word: 0.1111, at most 0.1"),
    ("max_bullet_lines", lines(("- item {}", 9), ("item {}", 1)), lines(("- item {}", 10), ("item {}", 1)),
     "bullet lines: 0.9091, at most 0.9"),
    ("max_ellipsis_lines", lines(("line {}...", 3), ("line {}.", 7)), lines(("line {}…", 4), ("line {}.", 9)),
     "ellipsis lines: 0.3077, at most 0.3"),
    ("min_alphabetic_words", "word " * 8 + "12 !", "word " * 7 + "12 !", "alphabetic words: 0.7778, at least 0.8"),
    ("min_stop_words", "of the", "the the", "too few stop words: 1 of en, at least 2"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "inside", "outside", "reason"), GOPHER)
def test_gopher_quality(option, inside, outside, reason):
    step = only(GopherQuality, option)
    assert judged(step, inside) == ""
    assert judged(step, outside) == reason
    assert judged(step.model_copy(update={option: None}), outside) == ""


def grams(size, characters):
    """`size` words of two letters, twice, with two different long words that fill the text up to `characters`."""
    gram = " ".join("abcdefghijk"[at : at + 2] for at in range(size))
    first = "q" * ((characters - 2 * len(gram) - 3) // 2)
    text = f"{gram} {first} {gram} "
    return text + "z" * (characters - len(text))


# size of the gram, the fewest characters of a text that is kept: twice the gram (top) or its letters (duplicate) over
# the threshold, e.g. 2 * len("ab bc") / 0.20 = 50 and 10 letters / 0.15 = 66.7
TOP = [(2, 50, "0.2041, at most 0.2"), (3, 89, "0.1818, at most 0.18"), (4, 138, "0.1606, at most 0.16")]
DUPLICATE = [(5, 67, "0.1515, at most 0.15"), (6, 86, "0.1412, at most 0.14"), (7, 108, "0.1308, at most 0.13"),
             (8, 134, "0.1203, at most 0.12"), (9, 164, "0.1104, at most 0.11"), (10, 200, "0.1005, at most 0.1")]  # fmt: skip


@pytest.mark.parametrize(("size", "fewest", "measured"), TOP)
def test_top_grams(size, fewest, measured):
    most = [threshold if at + 2 == size else None for at, threshold in enumerate((0.20, 0.18, 0.16))]
    step = only(GopherRepetition, "max_top_grams").model_copy(update={"max_top_grams": tuple(most)})
    assert len(grams(size, fewest)) == fewest
    assert judged(step, grams(size, fewest)) == ""
    assert judged(step, grams(size, fewest - 1)) == f"top {size}-gram characters: {measured}"


@pytest.mark.parametrize(("size", "fewest", "measured"), DUPLICATE)
def test_duplicate_grams(size, fewest, measured):
    thresholds = GopherRepetition().max_duplicate_grams
    most = tuple(threshold if at + 5 == size else None for at, threshold in enumerate(thresholds))
    step = only(GopherRepetition, "max_duplicate_grams").model_copy(update={"max_duplicate_grams": most})
    assert judged(step, grams(size, fewest)) == ""
    assert judged(step, grams(size, fewest - 1)) == f"duplicate {size}-gram characters: {measured}"


def repeated(new, again, part, end):
    """`new` different parts and `again` copies of the first, each ended by `end`."""
    return "".join(part.format(number) + end for number in [*range(new), *[0] * again])


REPETITION = [
    ("max_duplicate_lines", repeated(7, 3, "line {}", "\n"), repeated(9, 4, "line {}", "\n"),
     "duplicate lines: 0.3077, at most 0.3"),
    ("max_duplicate_paragraphs", repeated(7, 3, "one\nline {}", "\n\n"), repeated(9, 4, "one\nline {}", "\n\n"),
     "duplicate paragraphs: 0.3077, at most 0.3"),
    # nine characters and a newline a line: 2 * 9 of 90, 2 * 9 of 80
    ("max_duplicate_line_characters", repeated(7, 2, "the line{}", "\n"), repeated(6, 2, "the line{}", "\n"),
     "duplicate line characters: 0.225, at most 0.2"),
    # eight characters and two newlines a paragraph: 8 of 40, 8 of 30
    ("max_duplicate_paragraph_characters", repeated(3, 1, "a\n line{}", "\n\n"), repeated(2, 1, "a\n line{}", "\n\n"),
     "duplicate paragraph characters: 0.2667, at most 0.2"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "inside", "outside", "reason"), REPETITION)
def test_gopher_repetition(option, inside, outside, reason):
    step = only(GopherRepetition, option)
    assert judged(step, inside) == ""
    assert judged(step, outside) == reason


FINEWEB = [
    ("min_terminal_lines", lines(("ends {}.", 3), ("open {}", 22)), lines(("ends {}.", 2), ("open {}", 15)),
     "lines with final punctuation: 0.1176, at least 0.12"),
    ("max_short_lines", lines(("x" * 28 + "{:02}", 67), ("x" * 29 + "{:02}", 33)),
     lines(("x" * 28 + "{:02}", 68), ("x" * 29 + "{:02}", 32)), "short lines: 0.68, at most 0.67"),
    # one character again, of 100 and of 99 that are not newlines
    ("max_duplicate_line_characters", "x\nx\n" + "y" * 98, "x\nx\n" + "y" * 97,
     "duplicate line characters: 0.0101, at most 0.01"),
    ("max_newline_word_ratio", "\n\n\n" + "word " * 10, "\n\n\n\n" + "word " * 13, "newlines per word: 0.3077, at most 0.3"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "inside", "outside", "reason"), FINEWEB)
def test_fineweb(option, inside, outside, reason):
    step = only(FineWebQuality, option)
    assert judged(step, inside) == ""
    assert judged(step, outside) == reason


PROSE = """The keeper of the lighthouse had a clock that was always late, and he used to say that the sea did not mind.
Every evening he climbed the stairs with a lamp in his hand, because the wiring had been broken since the great storm.
When visitors came he would show them the lens, explain how the light is bent, and offer tea with far too much sugar.
Nobody knows what became of him, but the clock still hangs in the harbor office, where it is late to this day."""


@pytest.mark.parametrize("step", [GopherQuality(), GopherRepetition(), FineWebQuality()])
def test_prose_passes_all_rules_and_is_not_changed(step):
    document = Document("id", PROSE, "source", "MIT", {"k": 1})
    assert isinstance(step, Step)
    assert run_alone(step, [document]) == [document]


def test_one_answer_per_document_in_order():
    texts = [PROSE, "", "short", PROSE, "\ud800" * 3]
    out = run_alone(GopherQuality(), [Document(str(n), text, f"s{n}") for n, text in enumerate(texts)])
    assert [item.source for item in out] == ["s0", "s1", "s2", "s3", "s4"]
    assert [type(item) for item in out] == [Document, Drop, Drop, Document, Drop]


def test_stop_words_follow_the_language_of_the_document():
    german = "Der Hund und die Katze sind nicht im Haus, aber das Kind ist mit dem Ball auf der Straße. " * 4
    assert judged(GopherQuality(), german).startswith("too few stop words: 0 of en")
    assert judged(GopherQuality(), german, language="de") == ""
    assert judged(GopherQuality(language="de-AT"), german) == ""
    assert judged(GopherQuality(stop_words={"en": ("Hund", "Katze")}), german) == ""


def test_languages_without_list_and_scripts_without_spaces_are_noted():
    chinese = "我们在研究语言模型的时候，经常需要大量的文本数据。这些数据来自网络、书籍和代码。" * 5
    out = run_alone(GopherQuality(), [Document("id", chinese, "source", meta={"language": "zh"})])
    assert [item.change for item in out[:-1]] == [
        "stop words not judged: no list for the language",
        "word length not judged: script without spaces",
    ]
    assert isinstance(out[-1], Document)
    assert judged(only(GopherQuality, "min_mean_word_length"), "ab " * 50).startswith("short words")


@pytest.mark.parametrize("step", [GopherQuality, GopherRepetition, FineWebQuality])
def test_every_option_is_explained_and_unknown_ones_are_refused(step):
    assert all(field.description for field in step.model_fields.values())
    with pytest.raises(ValueError, match="extra"):
        step(min_word=3)


def test_shares_above_one_are_refused():
    with pytest.raises(ValueError, match="less than or equal"):
        GopherQuality(max_bullet_lines=1.5)
