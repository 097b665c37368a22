"""Office files, PDF and Parquet: the words of real files, and refusal of what is hostile."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import re
import zipfile
from pathlib import Path

import pytest
from reading import read, reasons

from ownlm.data.limits import Limits

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "docs_files"
WORD = re.compile(r"\w+")
W = "xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'"


def f1(text, gold):
    ours, theirs = (collections.Counter(WORD.findall(words.lower())) for words in (text, gold))
    both = sum((ours & theirs).values())
    return 2 * both / max(1, ours.total() + theirs.total())


def pack(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.skipif(not DATA.exists(), reason="OWNLM_TEST_DATA has no docs_files")
@pytest.mark.parametrize(("kind", "bar"), [("docx", 0.9), ("pptx", 0.8), ("xlsx", 0.9), ("odf", 0.9)])
def test_the_words_of_real_files(kind, bar):
    scores = []
    for path in sorted((DATA / kind / "sources").iterdir()):
        documents, drops = read(path)
        assert len(documents) == 1 and not drops, path.name
        gold = (DATA / kind / "markdown" / f"{path.name}.md").read_text(encoding="utf-8")
        scores.append(f1(documents[0].text, re.sub(r"<!--.*?-->", "", gold)))
    assert sum(scores) / len(scores) >= bar, scores


def test_docx_structure(tmp_path):
    styles = (
        f"<w:styles {W}><w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style></w:styles>"
    )
    body = """
    <w:p><w:pPr><w:pStyle w:val='berschrift2'/></w:pPr><w:r><w:t>Head</w:t></w:r></w:p>
    <w:p><w:r><w:t>kept </w:t></w:r><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del><w:ins><w:r><w:t>added</w:t></w:r></w:ins></w:p>
    <w:p><w:pPr><w:numPr><w:ilvl w:val='1'/><w:numId w:val='3'/></w:numPr></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
    <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc>
    <w:tc><w:tbl><w:tr><w:tc><w:p><w:r><w:t>in|ner</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:tc></w:tr></w:tbl>
    <w:p><w:r><w:instrText>PAGE</w:instrText><w:t>x</w:t><w:tab/><w:t>y</w:t></w:r></w:p>"""
    (tmp_path / "a.docx").write_bytes(
        pack({
            "word/styles.xml": styles, "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            "docProps/core.xml": "<c xmlns:dc='d'><dc:title>The title</dc:title></c>",
        })
    )  # fmt: skip
    ((document,), _) = read(tmp_path / "a.docx")
    assert document.text == "## Head\n\nkept added\n\n  - item\n\n| a b | in\\|ner |\n| --- | --- |\n\nx\ty\n"
    assert document.meta["title"] == "The title"


def test_ods_repeats_cost_nothing_and_annotations_are_left_out(tmp_path):
    content = """<d xmlns:t='t' xmlns:x='x' xmlns:o='o'><t:table><t:table-row>
    <t:table-cell><x:p>a<x:s x:c='2'/>b</x:p><o:annotation><x:p>secret</x:p></o:annotation></t:table-cell>
    <t:table-cell t:number-columns-repeated='16000'/></t:table-row>
    <t:table-row t:number-rows-repeated='1048576'><t:table-cell t:number-columns-repeated='16384'/></t:table-row>
    </t:table></d>"""
    (tmp_path / "a.ods").write_bytes(pack({"content.xml": content}))
    ((document,), _) = read(tmp_path / "a.ods")
    assert document.text == "| a b |\n| --- |\n"


def test_limits_of_archives_are_drops(tmp_path):
    document = f"<w:document {W}><w:p><w:r><w:t>{'word ' * 40_000}</w:t></w:r></w:p></w:document>"
    (tmp_path / "a.docx").write_bytes(pack({"word/document.xml": document}))
    small = Limits(file_bytes=100_000)
    assert reasons(read(tmp_path, limits=small)[1]) == {
        "a.docx": "decompression limit: more than 100000 bytes"
    }
    bomb = Limits(ratio=50, ratio_free_bytes=1000)
    assert reasons(read(tmp_path, limits=bomb)[1]) == {
        "a.docx": "decompression bomb: unfolds more than 50 times"
    }
    few = Limits(archive_files=0)
    assert reasons(read(tmp_path, limits=few)[1]) == {"a.docx": "archive with more than 0 files"}


@pytest.mark.skipif(not DATA.exists(), reason="OWNLM_TEST_DATA has no docs_files")
def test_real_pdfs():
    pytest.importorskip("pypdfium2")
    documents, drops = read(DATA / "pdf")
    texts = {document.source: document.text for document in documents}
    assert len(texts) + len(drops) == 17 and {drop.reason for drop in drops} == {"no text in the document"}
    assert "Lorem ipsum dolor sit amet" in texts["002-trivial-libre-office-writer.pdf"]
    pages = {document.source: document.meta["num_pages"] for document in documents}
    assert pages["multicolumn.pdf"] == 3


def test_broken_pdfs_are_drops(tmp_path):
    pytest.importorskip("pypdfium2")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "b.pdf").write_bytes(b"")
    found = reasons(read(tmp_path)[1])
    assert found["a.pdf"].startswith("damaged PDF") and found["b.pdf"] == "empty"


def make_parquet(path, **options):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({
        "text": [f"text {number}" if number % 5 else None for number in range(1000)], "n": range(1000),
        "x": [float("nan")] * 1000, "l": [[1, 2]] * 1000, "licence": ["CC0-1.0"] * 1000,
    })  # fmt: skip
    parquet.write_table(table, path, row_group_size=90, **options)


def test_parquet_rows_are_the_same_for_every_cut(tmp_path):
    make_parquet(tmp_path / "a.parquet")
    whole, drops = read(tmp_path / "a.parquet")
    assert [document.text for document in whole] == [f"text {number}" for number in range(1000) if number % 5]
    assert len(drops) == 200 and drops[1].source == "a.parquet#6"
    first = whole[0]
    assert first.meta["n"] == 1 and first.meta["l"] == [1, 2] and first.meta["x"] is None
    assert first.licence == "CC0-1.0"
    for part_bytes in (1, 5000, 9000):
        assert read(tmp_path / "a.parquet", part_bytes)[0] == whole


def test_the_footer_is_read_as_pyarrow_reads_it(tmp_path):
    from ownlm.data.sources.parquet_footer import row_group_bytes

    for number, options in enumerate(
        ({}, {"compression": "zstd"}, {"version": "1.0"}, {"write_statistics": False})
    ):
        path = tmp_path / f"{number}.parquet"
        make_parquet(path, **options)
        import pyarrow.parquet

        metadata = pyarrow.parquet.read_metadata(path)
        wanted = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
        assert row_group_bytes(path) == wanted and len(wanted) == 12


def test_parquet_that_cannot_be_used(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"body": ["a"]}), tmp_path / "a.parquet")
    parquet.write_table(arrow.table({"text": [1]}), tmp_path / "b.parquet")
    parquet.write_table(arrow.table({"text": arrow.array([], arrow.string())}), tmp_path / "c.parquet")
    good = tmp_path / "d.parquet"
    parquet.write_table(
        arrow.table({"text": ["word " * 50] * 50}), good, compression="none", use_dictionary=False
    )
    data = bytearray(good.read_bytes())
    data[4:40] = bytes(36)
    good.write_bytes(bytes(data))
    documents, drops = read(tmp_path)
    found = reasons(drops)
    assert not documents and found["a.parquet#group0"] == "no column `text`: it has body"
    assert found["b.parquet#group0"] == "column `text` is not a string: int64"
    assert found["d.parquet#group0"].startswith("damaged Parquet file") and len(found) == 4


def test_mutated_footers_never_escape(tmp_path):
    import random

    from ownlm.data.limits import Unusable
    from ownlm.data.sources.parquet_footer import row_group_bytes

    path = tmp_path / "a.parquet"
    make_parquet(path)
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(100):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(data) - 2000, len(data) - 4)] = rng.randrange(256)
        path.write_bytes(changed)
        with contextlib.suppress(Unusable):
            assert sum(row_group_bytes(path)) >= 0
