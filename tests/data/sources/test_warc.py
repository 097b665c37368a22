"""Web archives: every form of storing a page gives the same page; damage costs what is damaged."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from reading import read, reasons

from ownlm.data.limits import Limits
from ownlm.data.sources.part import Source, split, units

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "web_warc"


def sha1(data):
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


def record(kind, block, url="", content_type="application/http; msgtype=response", **headers):
    lines = [
        "WARC/1.1",
        f"WARC-Type: {kind}",
        "WARC-Date: 2024-05-18T01:58:10Z",
        f"Content-Type: {content_type}",
    ]
    lines += [f"WARC-Record-ID: <urn:uuid:{hashlib.md5(block + url.encode()).hexdigest()}>"]
    lines += [f"WARC-Target-URI: {url}"] if url else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, f"Content-Length: {len(block)}"]) + "\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def response(
    body, status="200 OK", url="http://example.org/", content_type="text/html", digest=None, **headers
):
    fields = {
        "Content-Type": content_type,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = f"HTTP/1.1 {status}\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in fields.items() if value
    )
    return record("response", head.encode() + b"\r\n" + body, url, WARC_Payload_Digest=digest or sha1(body))


def chunked(body, rng):
    pieces, at = [], 0
    while at < len(body):
        size = rng.randint(1, 900)
        chunk = body[at : at + size]
        pieces.append(f"{len(chunk):x}{rng.choice(['', ';x=y', '  '])}\r\n".encode() + chunk + b"\r\n")
        at += size
    return b"".join(pieces) + b"0\r\n\r\n"


def packed(body, encoding):
    raw = zlib.compressobj(6, zlib.DEFLATED, -15)
    return {
        "": lambda: body, "gzip": lambda: gzip.compress(body), "deflate": lambda: zlib.compress(body),
        "x-gzip": lambda: gzip.compress(body), "zstd": lambda: zstandard.compress(body),
        "DEFLATE": lambda: raw.compress(body) + raw.flush(),
    }[encoding]()  # fmt: skip


def archive(count=300, seed=0):
    """(records, pages by URL, number of records that are no pages)."""
    rng = random.Random(seed)
    records, pages, others = (
        [record("warcinfo", b"software: x\r\n", content_type="application/warc-fields")],
        {},
        1,
    )
    while len(records) < count:
        url = f"http://example.org/{len(records)}?ä"
        body = f"<html><p>{' '.join(rng.choices(['alpha', 'béta', '中文'], k=rng.randint(1, 400)))}</p>"
        turn = rng.randrange(10)
        if turn == 0:
            records.append(
                record("request", b"GET / HTTP/1.1\r\n\r\n", url, "application/http; msgtype=request")
            )
        elif turn == 1:
            records.append(response(b"gone", "404 Not Found", url))
        elif turn == 2:
            records.append(response(rng.randbytes(500), url=url, content_type="image/png"))
        else:
            charset = rng.choice(["utf-8", "gb18030"])
            data = body.encode(charset)
            encoding = rng.choice(["", "gzip", "deflate", "x-gzip", "zstd", "DEFLATE"])
            stored = packed(data, encoding)
            chunks = rng.random() < 0.5
            records.append(
                response(
                    chunked(stored, rng) if chunks else stored, url=url, content_type=f"text/html; charset={charset}",
                    digest=rng.choice([None, sha1(stored)]), Content_Encoding=encoding,
                    Transfer_Encoding="chunked" if chunks else "",
                )
            )  # fmt: skip
            pages[url] = body
            continue
        others += 1
    return records, pages, others


@pytest.fixture(scope="module")
def made():
    return archive()


def test_300_records_plain_and_gzip_at_any_cut(tmp_path, made):
    records, pages, others = made
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    first = None
    for name in ("a.warc", "a.warc.gz"):
        for part_bytes in (16 << 20, 20_000, 3_000, 1):
            documents, drops = read(tmp_path / name, part_bytes)
            assert {document.source: document.text for document in documents} == pages
            assert len(drops) == others and len(documents) + len(drops) == len(records)
            ids = [document.id for document in documents]
            first = first or ids
            assert ids == first and len(set(ids)) == len(ids)


def test_parts_begin_at_records(tmp_path, made):
    records, _, _ = made
    members = [gzip.compress(data) for data in records]
    for name, pieces in (("a.warc", records), ("a.warc.gz", members)):
        (tmp_path / name).write_bytes(b"".join(pieces))
        starts = {sum(map(len, pieces[:count])) for count in range(len(pieces))}
        parts = list(split(Source(path=str(tmp_path / name)), 5000))
        assert len(parts) > 5 and {part.start for part in parts} <= starts
        assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]


def test_one_gzip_member_around_all_records(tmp_path, made):
    records, pages, _ = made
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(b"".join(records)))
    documents, _ = read(tmp_path / "a.warc.gz", 3000)
    assert {document.source: document.text for document in documents} == pages


def test_an_archive_inside_a_record_is_not_read_as_records(tmp_path):
    """A stored (not compressed) member inside a payload looks like a beginning; only a scan from the front knows."""
    inner = gzip.compress(response(b"<p>inner", url="http://inner.org/"), compresslevel=0)
    outer = gzip.compress(
        record("resource", inner * 20, "http://o.org/", "application/x-gzip"), compresslevel=0
    )
    (tmp_path / "a.warc.gz").write_bytes(outer + gzip.compress(response(b"<p>after")))
    documents, drops = read(tmp_path / "a.warc.gz", 50)
    assert [document.text for document in documents] == ["<p>after"]
    assert reasons(drops) == {"http://o.org/": "not text: application/x-gzip"}


def test_damage_costs_only_the_damaged_records(tmp_path, made):
    records, pages, _ = made
    members = [bytearray(gzip.compress(data)) for data in records]
    hurt = [
        number for number, data in enumerate(records) if b"HTTP/1.1 200" in data and b"text/html" in data
    ][5:40:7]
    for number in hurt:
        at = len(members[number]) // 2
        members[number][at : at + 8] = bytes(byte ^ 0x5A for byte in members[number][at : at + 8])
    (tmp_path / "a.warc.gz").write_bytes(b"".join(members))
    documents, drops = read(tmp_path / "a.warc.gz")
    assert len(pages) - len(documents) == len(hurt)
    assert sum(drop.reason.startswith("damaged compressed file") for drop in drops) == len(hurt)
    lengths = list(records)
    hurt = hurt[:2]
    for number in hurt:
        lengths[number] = lengths[number].replace(b"Content-Length: ", b"Content-Length: x")
    (tmp_path / "b.warc").write_bytes(b"".join(lengths))
    documents, drops = read(tmp_path / "b.warc")
    assert len(pages) - len(documents) == len(hurt)
    assert sum(drop.reason.startswith("bad record: Content-Length") for drop in drops) == len(hurt)


def test_a_cut_archive_gives_what_came_before_and_one_drop(tmp_path, made):
    records, _, _ = made
    for name, pieces in (
        ("a.warc", records[:9]),
        ("a.warc.gz", [gzip.compress(data) for data in records[:9]]),
    ):
        (tmp_path / name).write_bytes(b"".join(pieces)[:-60])
        documents, drops = read(tmp_path / name)
        assert len(documents) + len(drops) == 9
        assert drops[-1].reason.startswith("truncated") and "@" in drops[-1].source


def test_a_wrong_digest_is_a_drop_unless_digests_are_not_verified(tmp_path):
    (tmp_path / "a.warc").write_bytes(response(b"<p>page", digest=sha1(b"<p>other")) + response(b"<p>good"))
    documents, drops = read(tmp_path / "a.warc")
    assert [document.text for document in documents] == ["<p>good"]
    assert [drop.reason for drop in drops] == ["payload differs from its digest"]
    assert len(read(tmp_path / "a.warc", verify_digests=False)[0]) == 2
    hexadecimal = "sha1:" + hashlib.sha1(b"<p>page").hexdigest()
    (tmp_path / "b.warc").write_bytes(response(b"<p>page", digest=hexadecimal))
    assert len(read(tmp_path / "b.warc")[0]) == 1


def test_charsets_of_http_and_of_the_page(tmp_path):
    text = "<p>日本語のテキスト"
    russian = "<p>Привет, мир"
    cases = [
        (text.encode("shift_jis"), "text/html; charset=Shift_JIS", text),
        (text.encode("iso-2022-jp"), "text/html; charset=ISO-2022-JP", text),
        (b'<meta charset="euc-jp">' + text.encode("euc-jp"), "text/html", '<meta charset="euc-jp">' + text),
        (russian.encode("koi8-r"), "text/html; charset=koi8-r", russian),
        (russian.encode("utf-8"), "text/html; charset=iso-8859-1", russian),
        (russian.encode("utf-16"), "text/html", russian),
        (b"\xef\xbb\xbf" + russian.encode(), "text/html; charset=koi8-r", russian),
        ("<p>café".encode("latin-1"), "text/html; charset=idna", "<p>café"),
        ("<p>café".encode("latin-1"), "text/html; charset=punycode", "<p>café"),
        ("<p>café".encode("latin-1"), "text/html; charset=nonsense", "<p>café"),
    ]
    (tmp_path / "a.warc").write_bytes(b"".join(response(body, content_type=kind) for body, kind, _ in cases))
    documents, _ = read(tmp_path / "a.warc")
    assert [document.text for document in documents] == [wanted for _, _, wanted in cases]


def test_what_is_no_page_is_dropped_with_a_reason(tmp_path):
    cases = {
        "not text: application/pdf": response(b"%PDF-1.4", content_type="application/pdf"),
        "not text: binary content stated as text/html": response(bytes(300)),
        "HTTP status: 301": response(b"", "301 Moved"),
        "empty": response(b"  \n"),
        "content encoding br": response(b"xxxx", Content_Encoding="br"),
        "damaged compressed file: Error -3": response(gzip.compress(b"page")[:12] + bytes(30), Content_Encoding="gzip"),
        "truncated compressed file": response(gzip.compress(b"page" * 99)[:-9], Content_Encoding="gzip"),
        "decompression bomb": response(gzip.compress(bytes(20 << 20)), Content_Encoding="gzip"),
        "bad response: it does not begin": record("response", b"SSH-2.0\r\n\r\n", "http://x.org/"),
        "bad response: no status": record("response", b"HTTP/1.1 xx\r\n\r\n", "http://x.org/"),
        "not a page: revisit record": record("revisit", b"HTTP/1.1 200 OK\r\n\r\n", "http://x.org/"),
    }  # fmt: skip
    (tmp_path / "a.warc").write_bytes(b"".join(cases.values()) + response(b"<p>good"))
    documents, drops = read(tmp_path / "a.warc")
    assert len(documents) == 1 and len(drops) == len(cases)
    for wanted, drop in zip(cases, drops, strict=True):
        assert drop.reason.startswith(wanted)


def test_a_header_that_says_chunked_over_a_body_that_is_not(tmp_path):
    (tmp_path / "a.warc").write_bytes(response(b"<p>plain body\r\nof two lines", Transfer_Encoding="chunked"))
    assert read(tmp_path / "a.warc")[0][0].text == "<p>plain body\r\nof two lines"


def test_memory_does_not_grow_with_the_archive(tmp_path):
    member = gzip.compress(response(b"<p>" + b"words of a page " * 5000))
    peaks = []
    for count in (20, 400):
        (tmp_path / "a.warc.gz").write_bytes(member * count)
        (part,) = split(Source(path=str(tmp_path / "a.warc.gz")))
        tracemalloc.start()
        assert sum(1 for _ in units(part, Limits())) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_a_member_that_is_a_bomb_is_left_and_the_next_one_found(tmp_path):
    bomb = gzip.compress(record("resource", bytes(12 << 20), "http://bomb.org/", "text/plain"))
    (tmp_path / "a.warc.gz").write_bytes(bomb + gzip.compress(response(b"<p>good")))
    documents, drops = read(tmp_path / "a.warc.gz")
    assert [document.text for document in documents] == ["<p>good"]
    assert reasons(drops) == {"a.warc.gz@0": "decompression bomb: unfolds more than 250 times"}


def test_a_record_above_the_limit_is_passed_over(tmp_path):
    big = response(b"<p>" + b"x" * 50_000, url="http://big.org/")
    for name, data in (("a.warc", big), ("a.warc.gz", gzip.compress(big))):
        (tmp_path / name).write_bytes(
            data + (gzip.compress if name.endswith("gz") else bytes)(response(b"<p>good"))
        )
        documents, drops = read(tmp_path / name, limits=Limits(file_bytes=10_000))
        assert len(documents) == 1 and reasons(drops) == {
            "http://big.org/": "too large: more than 10000 bytes"
        }


def test_wat_metadata_of_a_page(tmp_path):
    page = {
        "Head": {"Title": "A title", "Metas": [{"name": "description", "content": "About it"}]},
        "Links": [{"path": "A@/href", "url": "/b", "text": "to b"}, {"path": "IMG@/src", "url": "c.png"}],
    }
    envelope = {"Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": page}},
                "WARC-Header-Metadata": {"WARC-Target-URI": "http://x.org/"}}  # fmt: skip
    block = json.dumps({"Envelope": envelope}).encode()
    (tmp_path / "a.wat").write_bytes(record("metadata", block, "http://x.org/", "application/json"))
    ((document,), _) = read(tmp_path / "a.wat")
    assert document.text == "A title\nAbout it\nto b" and document.meta["links"] == ["/b", "c.png"]


@pytest.mark.skipif(not DATA.exists(), reason="OWNLM_TEST_DATA has no web_warc")
def test_a_real_capture_in_three_forms():
    pages, drops = read(DATA / "whirlwind.warc.gz")
    assert [document.source for document in pages] == ["https://an.wikipedia.org/wiki/Escopete"]
    assert pages[0].meta["format"] == "html" and pages[0].meta["date"] == "2024-05-18T01:58:10Z"
    assert "<title>Escopete" in pages[0].text and len(drops) == 3
    texts, _ = read(DATA / "whirlwind.warc.wet.gz")
    assert texts[0].source == pages[0].source and texts[0].text.startswith("Escopete")
    metadata, drops = read(DATA / "whirlwind.warc.wat.gz")
    assert not metadata and drops[1].reason.startswith("not a page: metadata without an HTTP response")
