"""Readers take linear time on adversarial input: four times the bytes, at most five times the seconds."""

from __future__ import annotations

import gzip
import io
import time
import zipfile

import pytest
from growth import check_growth
from reading import read

from ownlm.data.limits import Limits

WARC = "WARC/1.0\r\nWARC-Type: resource\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n"
HTTP = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: {}\r\n\r\n"


def repeated(unit, size):
    return (unit * (size // len(unit) + 1))[:size]


def warc(body, head=HTTP):
    return head.format(len(body)).encode() + body


def office(name, head, unit, tail, size):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, head + unit * (size // len(unit)) + tail)
    return file.getvalue()


OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CASES = {
    "versions.warc": lambda size: repeated(b"WARC/x\n", size),
    "broken.warc": lambda size: repeated(b"WARC/1.0\r\nContent-Length: x\r\n\r\n", size),
    "empty.warc": lambda size: repeated(WARC.format(0).encode(), size),
    "folded.warc": lambda size: WARC.format(1)[:-2].encode() + repeated(b"\r\n a", min(size, 250_000)) + b"\r\n\r\nx",
    "lines.warc": lambda size: repeated(b"\n", size),
    "chunks.warc": lambda size: warc(OK + repeated(b"1\r\na\r\n", size)),
    "chunk.warc": lambda size: warc(OK + repeated(b"0", size)),
    "fields.warc": lambda size: warc(b"HTTP/1.1 200 OK\r\n" + repeated(b"a:b\r\n", size)),
    "magic.warc.gz": lambda size: repeated(b"\x1f\x8b\x08", size),
    "members.warc.gz": lambda size: repeated(gzip.compress(b"WARC/1.0\r\n", mtime=0)[:-3], size),
    "wat.wat": lambda size: warc(repeated(b"[", size), WARC.replace("resource", "metadata").replace("text/plain", "application/json")),
    "quotes.csv": lambda size: b'text\n"' + repeated(b'""', size),
    "commas.csv": lambda size: b"text\n" + repeated(b",", size),
    "rows.csv": lambda size: b"text\n" + repeated(b"a\n", size),
    "depth.json": lambda size: repeated(b"[", size),
    "keys.jsonl": lambda size: b'{"text":"a","x":{' + b",".join(b'"%d":1' % n for n in range(size // 10)) + b"}}",
    "escapes.jsonl": lambda size: b'{"text":"' + repeated(b"\\u0041", size // 6 * 6) + b'"}',
    "attribute.xml": lambda size: b'<posts><row Id="' + repeated(b"a", size),
    "rows.xml": lambda size: b"<posts>" + repeated(b"<row/>", size),
    "pages.xml": lambda size: b"<mediawiki>" + repeated(b"<page></page>", size),
    "text.xml": lambda size: b"<mediawiki><page><title>" + repeated(b"t&lt;", size),
    "a.docx": lambda size: office("word/document.xml", "<d><p>", "<r><t>a</t></r>", "</p></d>", size),
    "b.docx": lambda size: office("word/document.xml", "<d><tbl><tr>", "<tc><p><t>a</t></p></tc>", "</tr></tbl></d>", size),
    "c.docx": lambda size: office("word/document.xml", "<d><tbl>", "<tr/><tc/>", "</tbl></d>", size),
    "d.odt": lambda size: office("content.xml", "<d><p>", "<p>a</p>", "</p></d>", size),
    "names.docx": lambda size: office("word/document.xml", "<d ", "a:b", "='c'/>", size),
}  # fmt: skip


def seconds(folder, name, size, times):
    path = folder / f"{size}{name}"
    path.write_bytes(CASES[name](size))
    limits = Limits(ratio_free_bytes=1 << 30)
    taken = []
    for _ in range(times):
        start = time.process_time()
        read(path, limits=limits)
        taken.append(time.process_time() - start)
    return min(taken)


@pytest.mark.parametrize(
    "name", ["versions.warc", "chunks.warc", "magic.warc.gz", "quotes.csv", "attribute.xml"]
)
def test_readers_take_linear_time(tmp_path, name):
    check_growth(lambda size: seconds(tmp_path, name, size, 1), 1 << 15, 1 << 19, most=64, floor=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_readers_take_linear_time_at_full_size(tmp_path, name):
    small = seconds(tmp_path, name, 2 << 20, 2)
    assert seconds(tmp_path, name, 8 << 20, 1) <= 5 * max(small, 0.1)
