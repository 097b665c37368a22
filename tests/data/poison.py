"""Poison files for the readers: each must become Drops with a reason, never a Document, a hang or a crash.

    files = poison.make(folder, count=300, seed=0)      # [Poison(name, kind)], small on disk (bombs and sparse files)

Kinds take turns, details come from the seed. Links and FIFOs are made where the system can.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard


@dataclass(frozen=True, slots=True)
class Poison:
    name: str  # relative to the folder
    kind: str


def make(folder: Path, count: int = 300, seed: int = 0) -> list[Poison]:
    """Writes `count` files below `folder` and says what they are."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    kinds = sorted(KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        suffix, content = KINDS[kind]
        path = folder / f"poison{number:03d}_{kind}{suffix}"
        data = content(rng, path)
        if data is not None:
            path.write_bytes(data)
        made.append(Poison(path.name, kind))
    return made


Content = Callable[[random.Random, Path], "bytes | None"]  # None: it has made the file itself


def words(rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(count))


# ---- compressed files


def _bomb() -> bytes:
    return bytes(20 << 20)


def _truncated_gzip(rng: random.Random, path: Path) -> bytes:
    data = gzip.compress(words(rng, 2000).encode())
    return data[: rng.randint(12, len(data) - 9)]


def _damaged_gzip(rng: random.Random, path: Path) -> bytes:
    data = bytearray(gzip.compress(words(rng, 2000).encode()))
    data[-rng.randint(5, 8)] ^= 1 << rng.randrange(8)  # its checksum
    return bytes(data)


def _truncated_zstd(rng: random.Random, path: Path) -> bytes:
    data = zstandard.compress(words(rng, 2000).encode())
    return data[: rng.randint(8, len(data) - 2)]


_CACHE: dict[str, bytes] = {}


def _once(name: str, build: Callable[[], bytes]) -> Content:
    def content(rng: random.Random, path: Path) -> bytes:
        if name not in _CACHE:
            _CACHE[name] = build()
        return _CACHE[name]

    return content


# ---- office files


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>'


def _document(head: str, body: str) -> bytes:
    return f"{head}<w:document xmlns:w='w'><w:body><w:p><w:r><w:t>{body}</w:t></w:r></w:p></w:body></w:document>".encode()


def _docx_entities(rng: random.Random, path: Path) -> bytes:
    head, body = rng.choice([(LAUGHS, "&i;"), (EXTERNAL, "&x;"), (PARAMETER, "p")])
    return _zip({"word/document.xml": _document(head, body)})


def _odt_entities(rng: random.Random, path: Path) -> bytes:
    head, body = rng.choice([(LAUGHS, "&i;"), (EXTERNAL, "&x;"), (PARAMETER, "p")])
    return _zip({"content.xml": f"{head}<a><p>{body}</p></a>".encode()})


def _docx_bomb(rng: random.Random, path: Path) -> bytes:
    return _zip({"word/document.xml": b"<w:document>" + bytes(16 << 20)})


def _docx_members(rng: random.Random, path: Path) -> bytes:
    return _zip({f"../../{number}": b"" for number in range(11_000)}, zipfile.ZIP_STORED)


def _docx_nested(rng: random.Random, path: Path) -> bytes:
    inner = _zip({"word/document.xml": words(rng, 50).encode()})
    return _zip({"word/document.xml": _zip({"a.zip": inner})})


def _docx_encrypted(rng: random.Random, path: Path) -> bytes:
    data = bytearray(_zip({"word/document.xml": _document("", words(rng, 20))}))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _docx_truncated(rng: random.Random, path: Path) -> bytes:
    data = _zip({"word/document.xml": _document("", words(rng, 200))})
    return data[: rng.randint(30, len(data) - 25)]


def _docx_claims(rng: random.Random, path: Path) -> bytes:
    """A header that claims more than there is: 1 GB unfolded, and a wrong checksum."""
    data = bytearray(_zip({"word/document.xml": _document("", words(rng, 200))}))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 1 << 30)
    struct.pack_into("<I", data, at + 16, rng.getrandbits(32))
    return bytes(data)


def _docx_deep(rng: random.Random, path: Path) -> bytes:
    return _zip({"word/document.xml": b"<a>" * 100_000})


def _ole(rng: random.Random, path: Path) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + rng.randbytes(3000)


_BOOK = b"<workbook xmlns:r='r'><sheets><sheet name='s' r:id='a'/></sheets></workbook>"
_BOOK_RELS = b"<Relationships><Relationship Id='a' Target='sheet.xml'/></Relationships>"


def _workbook(sheet: bytes) -> bytes:
    return _zip({"xl/workbook.xml": _BOOK, "xl/_rels/workbook.xml.rels": _BOOK_RELS, "xl/sheet.xml": sheet})


def _xlsx_giant(rng: random.Random, path: Path) -> bytes:
    rows = "".join(f"<row r='{n}'><c r='XFD{n}'><v>{n}</v></c></row>" for n in range(1, 400))
    return _workbook(f"<worksheet><sheetData>{rows}</sheetData></worksheet>".encode())


def _xlsx_reference(rng: random.Random, path: Path) -> bytes:
    place = rng.choice(["A1", "ZZZZ9", "", "9A"])
    index = rng.choice(["7", "-1", "9999999999999999999999", "x"])
    return _workbook(f"<worksheet><row><c r='{place}' t='s'><v>{index}</v></c></row></worksheet>".encode())


def _pptx_paths(rng: random.Random, path: Path) -> bytes:
    rels = b"<Relationships><Relationship Id='a' Target='../../../../etc/passwd'/></Relationships>"
    show = b"<p xmlns:r='r'><sldId r:id='a'/></p>"
    return _zip({"ppt/presentation.xml": show, "ppt/_rels/presentation.xml.rels": rels, "../../x": b"x"})


# ---- PDF


def _pdf(objects: list[str]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += "".join(f"{place:010d} 00000 n \n" for place in places).encode()
    out += f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def _pdf_cycle(rng: random.Random, path: Path) -> bytes:
    return _pdf(["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9999>>"])


def _pdf_garbage(rng: random.Random, path: Path) -> bytes:
    return b"%PDF-1.7\n" + rng.randbytes(5000)


def _pdf_image_bomb(rng: random.Random, path: Path) -> bytes:
    data = zlib.compress(bytes(1 << 20), 9)
    image = (
        "<</Type/XObject/Subtype/Image/Width 60000/Height 60000/ColorSpace/DeviceRGB/BitsPerComponent 8"
        f"/Length {len(data)}/Filter/FlateDecode>>\nstream\n"
    )
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</XObject<</i 4 0 R>>>>/Contents 5 0 R>>"
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", page, image + "endstream",
               "<</Length 5>>\nstream\n/i Do\nendstream"]  # fmt: skip
    return _pdf(objects)


# ---- rows


def _deep_json(rng: random.Random, path: Path) -> bytes:
    depth = rng.choice([100_000, 20_000, 300])
    value = rng.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
    return ('{"text": "a fine text", "x": ' + value + "}").encode()


BAD_ROWS = (
    '{"text": "a", "x": NaN}', '{"text": "a", "x": -Infinity}', '{"text": "a", "text": "b"}', '{"text": "a"',
    '{"text": "a",}', "{'text': 'a'}", '{"text": "a\tb"}', '{"text": 5}', '{"words": "a"}', '["text"]', '"text"',
    '{"text": "a"} x', '{"text": "\\x41"}', '{"text": 01}', "", "text", '{"text": ""}', '{"text": "a", "n": 1.}',
    '{"text": "a", "n": .5}', '{"text": "a", "n": +1}', '{"text": "a", "n": 0x1}', '{text: "a"}', '{"text": "\\u12"}',
)  # fmt: skip


def _bad_row(rng: random.Random, path: Path) -> bytes:
    return (rng.choice([row for row in BAD_ROWS if row]) + "\n").encode()


def _sparse(num_bytes: int) -> Content:
    def content(rng: random.Random, path: Path) -> None:
        with open(path, "wb") as file:
            file.write(b'{"text": "')
            file.truncate(num_bytes)

    return content


def _csv(rng: random.Random, path: Path) -> bytes:
    return rng.choice([
        b"a,b\n1,2\n", b"text,text\na,b\n", b"text,n\na,b,c\nd\n", b"\0\1\2\3" * 100, b"\n\n", b'a,"text\n' + b"x," * 5000,
    ])  # fmt: skip


# ---- pages, archives, dumps


def _deep_html(rng: random.Random, path: Path) -> bytes:
    return rng.choice([b"<div>", b"<b><i>", b"<x a='"[:3] + b">"]) * rng.choice([1_000_000, 200_000, 20_000])


def _warc(rng: random.Random, path: Path) -> bytes:
    head = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: {}\r\n\r\n"
    page = "HTTP/1.1 200 OK\r\n{}\r\n" + words(rng, 30)
    return rng.choice([
        (head.format(1 << 40) + page.format("")).encode(),
        (head.format("-5") + page.format("")).encode(),
        (head.format("9" * 30) + page.format("")).encode(),
        head.format(100).encode()[:40],
        b"WARC/1.0\r\n" + b"a" * 400_000,
        rng.randbytes(4000),
        _record(head, page.format("Content-Encoding: br\r\n").encode()),
        _record(head, page.format("Content-Type: image/png\r\n").encode()),
        _record(head, b"HTTP/1.1 404 Not Found\r\n\r\n" + words(rng, 9).encode()),
        _record(head, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(20 << 20))),
    ])  # fmt: skip


def _record(head: str, block: bytes) -> bytes:
    return head.format(len(block)).encode() + block + b"\r\n\r\n"


def _warc_gz(rng: random.Random, path: Path) -> bytes:
    record = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\n"
    data = gzip.compress(record + rng.randbytes(9000))
    return data[: rng.randint(20, len(data) - 9)]


def _xml_dump(rng: random.Random, path: Path) -> bytes:
    head, body = rng.choice([(LAUGHS, "&i;"), (EXTERNAL, "&x;"), (PARAMETER, "p")])
    page = f"<page><title>t</title><ns>0</ns><revision><text>{body}</text></revision></page>"
    return f"{head}<mediawiki>{page}</mediawiki>".encode()


def _parquet(rng: random.Random, path: Path) -> bytes:
    length = rng.choice([0xFFFFFFFF, 1 << 30, 4, 0])
    return (
        b"PAR1" + rng.randbytes(300) + struct.pack("<I", length) + rng.choice([b"PAR1", b"PARE", b"\0\0\0\0"])
    )


# ---- plain files, links, and what is no file


def _binary(rng: random.Random, path: Path) -> bytes:
    head = rng.choice(
        [b"\x7fELF", b"\x89PNG\r\n", b"PK\x03\x04", b"\xff\xd8\xff", b"MZ\x90", b"\0" * 8, b"a" * 50]
    )
    return head + bytes(rng.choices(range(32), k=4000))


def _link(rng: random.Random, path: Path) -> None:
    path.symlink_to(rng.choice([path.name, "/etc/hostname", "nowhere", "..", "/dev/zero"]))


def _fifo(rng: random.Random, path: Path) -> None:
    os.mkfifo(path)


def _empty(rng: random.Random, path: Path) -> bytes:
    return rng.choice([b"", b"\n", b" \t\r\n" * 9])


KINDS: dict[str, tuple[str, Content]] = {
    "binary": (".txt", _binary),
    "bz2_bomb": (".txt.bz2", _once("bz2", lambda: bz2.compress(_bomb()))),
    "csv": (".csv", _csv),
    "damaged_gzip": (".txt.gz", _damaged_gzip),
    "deep_html": (".html", _deep_html),
    "deep_json": (".json", _deep_json),
    "deep_row": (".jsonl", _deep_json),
    "docx_bomb": (".docx", _once("docx", lambda: _docx_bomb(random.Random(0), Path()))),
    "docx_claims": (".docx", _docx_claims),
    "docx_deep": (".docx", _docx_deep),
    "docx_encrypted": (".docx", _docx_encrypted),
    "docx_entities": (".docx", _docx_entities),
    "docx_members": (".docx", _once("members", lambda: _docx_members(random.Random(0), Path()))),
    "docx_nested": (".docx", _docx_nested),
    "docx_truncated": (".docx", _docx_truncated),
    "empty": (".md", _empty),
    "fifo": (".txt", _fifo),
    "gzip_bomb": (".txt.gz", _once("gzip", lambda: gzip.compress(_bomb()))),
    "huge_file": (".txt", _sparse(2 << 30)),
    "huge_line": (".jsonl", _sparse(100 << 20)),
    "json": (".json", _bad_row),
    "link": (".txt", _link),
    "odt_entities": (".odt", _odt_entities),
    "ole": (".docx", _ole),
    "parquet": (".parquet", _parquet),
    "pdf_cycle": (".pdf", _pdf_cycle),
    "pdf_garbage": (".pdf", _pdf_garbage),
    "pdf_image": (".pdf", _pdf_image_bomb),
    "pptx_paths": (".pptx", _pptx_paths),
    "rows": (".jsonl", _bad_row),
    "truncated_gzip": (".txt.gz", _truncated_gzip),
    "truncated_rows": (".jsonl.gz", _truncated_gzip),
    "truncated_zstd": (".txt.zst", _truncated_zstd),
    "unknown": (".exe", _binary),
    "warc": (".warc", _warc),
    "warc_gz": (".warc.gz", _warc_gz),
    "xlsx_giant": (".xlsx", _xlsx_giant),
    "xlsx_reference": (".xlsx", _xlsx_reference),
    "xml_dump": (".xml", _xml_dump),
    "zstd_bomb": (".txt.zst", _once("zstd", lambda: zstandard.compress(_bomb()))),
}  # fmt: skip
