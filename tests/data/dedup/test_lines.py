"""Repeated lines and paragraphs: the pieces against a splitting by hand, and the cut against a count."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.data.dedup.lines import LineDuplicates, ParagraphDuplicates, lines, paragraphs
from ownlm.data.flow.step import Note, run_alone
from ownlm.errors import DataError
from ownlm.records import Document, Drop


def documents(*texts: str) -> list[Document]:
    return [Document(f"d{number}", body, f"s{number}") for number, body in enumerate(texts)]


def pieces(cut, text: str) -> list[str]:
    return [text[first:behind] for first, behind in cut(text)]


@given(st.text(alphabet="ab \n\t\r\u2028", max_size=40))
def test_pieces_by_definition(text):
    assert [piece.removesuffix("\n") for piece in pieces(lines, text)] == [
        row for row in text.split("\n") if row
    ]
    assert "".join(pieces(paragraphs, text)) == text
    rows = [row.strip() for row in text.split("\n")]
    blocks = [block for block in re.split("\n{2,}", "\n".join(rows).strip("\n")) if block]
    found = [piece for piece in pieces(paragraphs, text) if piece.strip()]
    assert ["\n".join(row.strip() for row in piece.strip().split("\n")) for piece in found] == [
        block.strip() for block in blocks
    ]


def test_paragraphs_by_hand():
    assert pieces(paragraphs, "\n a\nb\n \n\nc\n\n") == ["\n a\nb\n \n\n", "c\n\n"]


def test_later_copies_go_and_are_counted():
    footer = "Subscribe to our weekly newsletter"
    items = documents(
        f"first\n{footer}\nkept line number one", f"{footer}  \nsecond text stays here\nshort", footer
    )
    output = run_alone(LineDuplicates(), items)
    assert [item.text for item in output if isinstance(item, Document)] == [
        items[0].text,
        "second text stays here\nshort",
    ]
    assert [item for item in output if isinstance(item, Note)] == [Note("repeated lines removed", 1)]
    (gone,) = [item for item in output if isinstance(item, Drop)]
    assert gone.reason == "repeated lines: 100% of the characters occurred before" and gone.source == "s2"


def test_min_count_case_length_and_share():
    line = "A line that is long enough\n"
    assert (
        len(
            [
                i
                for i in run_alone(LineDuplicates(min_count=3), documents(line, line))
                if isinstance(i, Document)
            ]
        )
        == 2
    )
    assert (
        len(
            [i for i in run_alone(LineDuplicates(), documents(line, line.upper())) if isinstance(i, Document)]
        )
        == 2
    )
    loose = LineDuplicates(case=False)
    assert len([i for i in run_alone(loose, documents(line, line.upper())) if isinstance(i, Document)]) == 1
    assert (
        len(
            [
                i
                for i in run_alone(LineDuplicates(min_characters=40), documents(line, line))
                if isinstance(i, Document)
            ]
        )
        == 2
    )
    tail = "12345"
    for share, kept in ((0.1, 2), (0.5, 1)):
        output = run_alone(LineDuplicates(min_kept_share=share), documents(line, line + tail))
        assert len([item for item in output if isinstance(item, Document)]) == kept


@given(
    st.lists(st.lists(st.sampled_from(["aaaa", "bbbb", "cccc", "dd", ""]), max_size=5), max_size=5),
    st.integers(0, 5),
)
def test_lines_against_a_count(rows, cut):
    step = LineDuplicates(min_characters=3, min_kept_share=0)
    items = documents(*("\n".join(row) for row in rows))
    parts = [items[:cut], items[cut:]]
    decided = step.decide([step.sketch(iter(part)) for part in parts])
    output = [item for part, one in zip(parts, decided, strict=True) for item in step.apply(iter(part), one)]
    seen: Counter[str] = Counter()
    expected = []
    for item in items:
        kept = []
        for line in re.split(r"(?<=\n)", item.text):
            seen[line.strip()] += 1
            if len(line.strip()) < 3 or seen[line.strip()] == 1:
                kept.append(line)
        text = "".join(kept)
        if text == item.text or text.strip():
            expected.append(text)
    assert [item.text for item in output if isinstance(item, Document)] == expected
    assert len([item for item in output if isinstance(item, Drop)]) == len(items) - len(expected)


def test_paragraph_step_and_changed_documents():
    step = ParagraphDuplicates()
    block = "All rights are reserved\nby somebody somewhere.\n\n"
    items = documents("one\n\n" + block, "two is a text with more words\n\n" + block)
    (decision,) = step.decide([step.sketch(iter(items))])
    assert [i.text for i in step.apply(iter(items), decision) if isinstance(i, Document)] == [
        items[0].text, "two is a text with more words\n\n",
    ]  # fmt: skip
    for other in (items[:1], [*items, items[0]]):
        with pytest.raises(DataError, match="not those that were looked at"):
            list(step.apply(iter(other), decision))
