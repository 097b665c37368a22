from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.synth.sentences import plain, sentences


def cut(text, **options):
    return [plain(text[start:end]) for start, end in sentences(text, **options)]


def test_sentences_and_abbreviations():
    text = 'Mr. Holmes, e.g. the detective, sat down. "It is late," he said. J. Smith came in 1891! Was it Dr. Watson?\nIt was not him.'
    assert cut(text) == [
        "Mr. Holmes, e.g. the detective, sat down.", '"It is late," he said.', "J. Smith came in 1891!",
        "Was it Dr. Watson?", "It was not him.",
    ]  # fmt: skip


def test_wrapped_lines_are_one_sentence_with_exact_offsets():
    text = "    This goes\n    over two lines.  And here is\n    another one."
    (a, b), (c, d) = sentences(text)
    assert text[a:b] == "This goes\n    over two lines." and plain(text[c:d]) == "And here is another one."


def test_markup_is_left_out():
    text = "# A heading of words\n\nText that counts here.\n\n```\ncode that looks like words here\n```\n\n| a table | of words |\n\n- item one of a list\n- item two of a list\n"
    assert cut(text) == ["Text that counts here.", "item one of a list", "item two of a list"]


def test_python_source():
    text = 'def shorten(text,\n            width):\n    """Collapse the given text.\n\n    It returns a shorter text.\n    """\n    x = compute(text, width)\n    # A comment that goes\n    # over two lines.\n    return x\n'
    assert cut(text, code=True) == [
        "def shorten(text, width):", "Collapse the given text.", "It returns a shorter text.", "A comment that goes over two lines.",
    ]  # fmt: skip


def test_chinese():
    assert cut("多层感知机是一种模型。它有很多层次！") == ["多层感知机是一种模型。", "它有很多层次！"]


@given(st.text(alphabet=st.sampled_from("abc ABC.!?\n#>*-`:=\"'()1中。\t"), max_size=400), st.booleans())
@settings(max_examples=200, deadline=None)
def test_offsets_are_ordered_and_inside(text, code):
    at = 0
    for start, end in sentences(text, code=code):
        assert at <= start < end <= len(text) and text[start:end] == text[start:end].strip()
        assert "\n" not in plain(text[start:end])
        at = end
