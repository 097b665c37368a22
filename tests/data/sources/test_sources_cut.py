"""Where a source is cut into parts changes nothing of what is read."""

from __future__ import annotations

import gzip
import json
import random

import pytest
from reading import read, reasons

from ownlm.data.limits import Limits
from ownlm.data.sources import cut
from ownlm.data.sources.part import Source, split, units
from ownlm.errors import DataError


def make_rows(path, count, seed=0):
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            if number % 7 == 3:
                file.write("\n")
            text = "ä word " * rng.randint(1, 60)
            file.write(json.dumps({"text": f"{number} {text}", "n": number}, ensure_ascii=False) + "\n")
        file.write('{"text": "the last line has no end"}')


def test_rows_are_the_same_for_every_part_size(tmp_path):
    make_rows(tmp_path / "rows.jsonl", 300)
    whole, drops = read(tmp_path / "rows.jsonl")
    assert len(whole) == 301 and not drops
    lines = (tmp_path / "rows.jsonl").read_text().split("\n")
    for document in whole:  # the number in the name is the line of the file
        line = int(document.meta["place"].partition("#")[2])
        assert json.loads(lines[line - 1])["text"] == document.text
    for part_bytes in (1, 100, 1000, 4096, 20_000, 1 << 16):
        assert read(tmp_path / "rows.jsonl", part_bytes)[0] == whole, part_bytes


def test_the_parts_of_a_row_file_tile_it_and_begin_after_newlines(tmp_path):
    make_rows(tmp_path / "rows.jsonl", 300)
    data = (tmp_path / "rows.jsonl").read_bytes()
    parts = list(split(Source(path=str(tmp_path / "rows.jsonl")), 5000))
    assert len(parts) > 3 and parts[0].start == 0 and parts[-1].end == -1
    for before, after in zip(parts, parts[1:]):
        assert before.end == after.start and data[after.start - 1 : after.start] == b"\n"
        assert after.options["line"] == data[: after.start].count(b"\n")
    assert sum(part.num_bytes for part in parts) == len(data)


def test_a_folder_of_everything_is_the_same_for_every_part_size(tmp_path):
    make_rows(tmp_path / "b.jsonl", 50)
    (tmp_path / "a.md").write_text("# A\n\ntext of a\n")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"text of c"))
    (tmp_path / "d.exe").write_bytes(b"MZ")
    (tmp_path / "e.csv").write_text('id,text\n1,"two\nlines"\n2,b\n')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
    (tmp_path / "sub" / "f.py").write_text("print('f')\n")
    (tmp_path / "g.json").write_text('[{"text": "one"}, {"text": "two", "licence": "CC0-1.0"}]')
    whole = read(tmp_path)
    sources = [document.source for document in whole[0] if "b.jsonl" not in document.source]
    assert sources == ["a.md", "c.txt.gz", "e.csv#2", "e.csv#3", "g.json#1", "g.json#2", "sub/f.py"]
    assert whole[0][-1].licence == "MIT" and whole[0][-2].licence == "CC0-1.0"
    assert {document.meta["collection"] for document in whole[0]} == {tmp_path.name}
    assert reasons(whole[1]) == {
        "d.exe": "unknown suffix .exe", "sub/LICENSE": "licence file: recorded as the licence, not as text"
    }  # fmt: skip
    for part_bytes in (1, 30, 2000):
        assert read(tmp_path, part_bytes) == whole, part_bytes


def test_parts_hold_a_bounded_number_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(cut, "MOST_FILES", 10)
    for number in range(23):
        (tmp_path / f"{number:04d}.txt").write_text(str(number))
    assert [len(part.paths) for part in split(Source(path=str(tmp_path)))] == [10, 10, 3]


def test_globs_lists_licences_and_collections(tmp_path):
    for name in ("x1.txt", "x2.txt", "y.txt"):
        (tmp_path / name).write_text(f"text of {name}")
    documents, _ = read(tmp_path / "x*.txt", licence="CC-BY-4.0", collection="mine")
    assert [document.source for document in documents] == ["x1.txt", "x2.txt"]
    assert {(document.licence, document.meta["collection"]) for document in documents} == {
        ("CC-BY-4.0", "mine")
    }
    documents, _ = read([tmp_path / "y.txt", tmp_path / "x1.txt"])
    assert [document.source for document in documents] == ["y.txt", "x1.txt"]
    assert documents[0].meta["collection"] == "y"


def test_a_stated_licence_wins_over_that_of_a_row_and_a_stated_collection_over_its_own(tmp_path):
    row = {"text": "a text", "licence": "MIT", "collection": "theirs"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    ((document,), _) = read(tmp_path / "a.jsonl")
    assert (document.licence, document.meta["collection"]) == ("MIT", "theirs")
    ((document,), _) = read(tmp_path / "a.jsonl", licence="CC0-1.0", collection="ours")
    assert (document.licence, document.meta["collection"]) == ("CC0-1.0", "ours")


def test_what_is_not_there_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing.txt", tmp_path / "*.txt"):
        with pytest.raises(DataError):
            list(split(Source(path=str(path))))
    with pytest.raises(DataError, match="format of a URL"):
        list(split(Source(path="https://example.org/page")))


def test_limit_bytes_stops_after_whole_parts(tmp_path):
    make_rows(tmp_path / "rows.jsonl", 300)
    parts = list(split(Source(path=str(tmp_path / "rows.jsonl"), limit_bytes=9000), 5000))
    assert len(parts) == 2 and parts == list(split(Source(path=str(tmp_path / "rows.jsonl")), 5000))[:2]


def test_a_stated_format_is_used_for_names_that_say_nothing(tmp_path):
    (tmp_path / "data").write_text('{"body": "a text"}\n')
    ((document,), drops) = read(tmp_path / "data", format="jsonl", text_key="body")
    assert document.text == "a text" and not drops


def test_html_files_are_extracted_unless_raw_html(tmp_path):
    page = "<html><head><title>T</title></head><body><nav>menu</nav><p>words</p></body></html>"
    (tmp_path / "a.html").write_text(page)
    assert read(tmp_path)[0][0].text == "# T\n\nwords\n"
    assert read(tmp_path, raw_html=True)[0][0].text == page


def test_units_of_a_file_that_vanishes_are_a_drop(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (part,) = split(Source(path=str(tmp_path)))
    (tmp_path / "a.jsonl").unlink()
    ((drop),) = units(part, Limits())
    assert drop.reason == "unreadable: No such file or directory"


def test_csv_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        'id;text\n1;"ein ""Wort"" \u2028 Zeile"\n2;zwei;drei\n3;vier\n'.encode("utf-16")
    )
    documents, drops = read(tmp_path / "a.csv")
    assert [document.text for document in documents] == ['ein "Wort" \u2028 Zeile', "vier"]
    assert documents[0].meta["row_id"] == "1"
    assert reasons(drops) == {"a.csv#3": "bad row: 3 fields for 2 columns"}
