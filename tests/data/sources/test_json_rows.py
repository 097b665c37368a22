"""JSON and UTF-8 through the row readers: what RFC 8259 refuses is a Drop, what it accepts is a document.

The cases are our own, one per rule of the grammar, in the manner of JSONTestSuite.
"""

from __future__ import annotations

import json

import pytest
from reading import read

VALID = [
    '"a"', '""', "0", "-0", "1", "-1", "10", "1.5", "-1.5e3", "1E5", "1e+5", "1e-5", "0e1", "0.1e1", "123456789012345678901",
    "1e400", "true", "false", "null", "[]", "{}", "[ ]", "[1]", "[1,2]", '{"a":1}', '{"":0}', '{"a":{"b":[null]}}', " 1 ",
    "\t1\n", '"\\u0041"', '"\\uD834\\uDD1E"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0000"', '"\u2028\u2029"', '"\x7f"',
    '"é"', '"😀"', "[[[[[[1]]]]]]", '{"a":1,"b":2}', '"\\uDADA"',
]  # fmt: skip
INVALID = [
    "", "NaN", "Infinity", "-Infinity", "nan", "True", "None", "nul", "01", "-01", "1.", ".5", "-.5", "+1", "1e", "1e+", "0x1",
    "1_000", "--1", "- 1", "1.2.3", "１", "[1,]", "[,1]", "[1 2]", "[1", "1]", "[", "]", "{", "}", '{"a"}', '{"a":}', '{"a":1,}',
    '{,"a":1}', "{a:1}", "{1:1}", "{'a':1}", '{"a":1 "b":2}', '{"a":1,"a":2}', "'a'", '"a', 'a"', '"\t"', '"\x00"', '"\x1f"',
    '"\\x41"', '"\\u12"', '"\\u00G0"', '"\\u 041"', '"\\"', '"\\a"', '"\\', "// c\n1", "/* c */ 1", "1 // c", "1;", "1,2",
    "[1}", "\u00a01", "\u20601", "\f1", "undefined", "[1,,2]", '{"a":1}}', '"a" "b"', "<1>", "[" * 100_000, "[" * 2000 + "]" * 2000,
    '{"a":' * 2000 + "1" + "}" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_valid_values_are_documents(tmp_path, suffix):
    values = [value.replace("\n", " ") for value in VALID]
    for number, value in enumerate(values):
        (tmp_path / f"{number:03d}.{suffix}").write_text(f'{{"text": "good", "x": {value}}}\n')
    documents, drops = read(tmp_path)
    assert not drops and [document.meta["x"] for document in documents] == [
        json.loads(value) for value in values
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_invalid_values_are_drops_and_their_neighbours_documents(tmp_path, suffix):
    good = '{"text": "good"}\n'
    for number, value in enumerate(INVALID):
        bad = f'{{"text": "bad", "x": {value}}}\n'
        (tmp_path / f"{number:03d}.{suffix}").write_text(bad)
        (tmp_path / f"{number:03d}good.{suffix}").write_text(good)
    documents, drops = read(tmp_path)
    assert {document.text for document in documents} == {"good"} and len(documents) == len(INVALID)
    assert len({drop.source.partition("#")[0] for drop in drops}) == len(INVALID)


def test_whole_files_that_are_no_rows(tmp_path):
    for number, text in enumerate(
        ("", " ", "[]", "1", '"text"', "[1]", "{}", '[{"text": ""}]', '[{"text": 1}]', "[[]]")
    ):
        (tmp_path / f"{number}.json").write_text(text)
    documents, drops = read(tmp_path)
    assert not documents and len(drops) == 10


UTF8 = {  # bytes inside a JSON string -> what a decoder must make of it (U+FFFD per maximal subpart, Unicode 3.9)
    b"\x80": "\ufffd",
    b"\xbf\xbf": "\ufffd\ufffd",
    b"\xc0\xaf": "\ufffd\ufffd",
    b"\xe0\x80\xaf": "\ufffd\ufffd\ufffd",
    b"\xc3": "\ufffd",
    b"\xe2\x82": "\ufffd",
    b"\xf0\x9f\x98": "\ufffd",
    b"\xf8\x88\x80\x80\x80": "\ufffd" * 5,
    b"\xfe\xff": "\ufffd\ufffd",
    b"\xed\xa0\x80": "\ufffd\ufffd\ufffd",
    b"\xf4\x90\x80\x80": "\ufffd" * 4,
    b"\xc3\xa9\xc3": "é\ufffd",
    b"\xe2\x82\xac": "€",
    b"\xf0\x9f\x98\x80": "😀",
    b"\xf4\x8f\xbf\xbf": "\U0010ffff",
    b"\xef\xbf\xbf": "\uffff",
}


def test_utf8_is_decoded_strictly_and_damage_is_counted(tmp_path):
    """Three good characters stand before the bad bytes, so that the row is taken for damaged UTF-8."""
    lines = [b'{"text": "\xc3\xa4 \xc3\xb6 \xc3\xbc|' + data + b'|"}\n' for data in UTF8]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    documents, drops = read(tmp_path / "a.jsonl")
    assert not drops
    for document, wanted in zip(documents, UTF8.values(), strict=True):
        assert document.text == f"ä ö ü|{wanted}|"
        assert document.meta.get("num_replaced", 0) == wanted.count("\ufffd")
