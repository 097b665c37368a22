"""Every kind of bad input is one Drop with a reason, and the good files beside it are still read."""

from __future__ import annotations

import gzip
import json
import os
import socket
import tempfile
import time
from pathlib import Path

import pytest
import zstandard

from ownlm.data import read as reading
from ownlm.data.funnel import Funnel
from ownlm.data.limits import Limits
from ownlm.errors import DataError
from ownlm.records import Document, Drop

GOOD = "A good document that says enough to be kept by every rule there is in this room.\n"


def split(items):
    items = list(items)
    drops = {item.source: item.reason for item in items if isinstance(item, Drop)}
    return {item.source: item for item in items if isinstance(item, Document)}, drops


def read_folder(folder: Path, **options):
    (folder / "good.txt").write_text(GOOD)
    documents, drops = split(reading.read([folder], **options))
    assert documents.pop("good.txt").text == GOOD
    return documents, drops


def test_every_format_is_read_with_its_name_and_kind(tmp_path):
    for name in ("a.md", "b.rst", "c.py", "d.rs", "README", "deep/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name} {GOOD}")
    (tmp_path / "f.html").write_text(
        "<html><title>T</title><body><nav>menu</nav><p>Caf&eacute; text</p></body>"
    )
    (tmp_path / "g.md.gz").write_bytes(gzip.compress(GOOD.encode()))
    (tmp_path / "h.txt.zst").write_bytes(zstandard.compress(GOOD.encode()))
    documents, drops = read_folder(tmp_path)
    assert not drops
    kinds = {source: document.meta["format"] for source, document in documents.items()}
    assert kinds == {
        "a.md": "markdown", "b.rst": "rst", "c.py": "code", "d.rs": "code", "README": "text", "deep/e.txt": "text",
        "f.html": "html", "g.md.gz": "markdown", "h.txt.zst": "text",
    }  # fmt: skip
    assert documents["c.py"].meta["programming_language"] == "python"
    assert documents["f.html"].text == "# T\n\nCafé text\n"
    assert documents["g.md.gz"].text == documents["h.txt.zst"].text == GOOD


def test_order_and_ids_depend_on_names_and_content_only(tmp_path):
    names = ["b.txt", "a/z.txt", "a/b.txt", "a.txt", "B.txt", "ä.txt"]
    for turn, order in enumerate((names, names[::-1])):
        for name in order:
            path = tmp_path / str(turn) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name + GOOD)
    first, second = (list(reading.read([tmp_path / turn])) for turn in "01")
    assert first == second
    assert [item.source for item in first] == ["B.txt", "a/b.txt", "a/z.txt", "a.txt", "b.txt", "ä.txt"]
    assert len({item.id for item in first}) == len(names)


def test_special_files_and_links_are_dropped_and_never_waited_for(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret " + GOOD)
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    os.mkfifo(folder / "fifo.txt")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "self.txt").symlink_to(folder / "self.txt")
    (folder / "escape.txt").symlink_to(outside / "secret.txt")
    (folder / "escape_dir").symlink_to(outside)
    (folder / "broken.txt").symlink_to(folder / "nothing")
    (folder / "inside.txt").symlink_to(folder / "good.txt")
    os.link(outside / "secret.txt", folder / "hard1.txt")
    os.link(outside / "secret.txt", folder / "hard2.txt")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    try:
        os.chdir(folder)  # socket names are short
        server.bind("socket.txt")
    finally:
        os.chdir(here)
    documents, drops = read_folder(folder)
    server.close()
    assert set(documents) == {"hard1.txt"}
    assert drops == {
        "fifo.txt": "not a file: FIFO",
        "socket.txt": "not a file: socket",
        "sub/up": "symlink: loop",
        "self.txt": "symlink: loop",
        "escape.txt": "symlink: leaves the folder",
        "escape_dir": "symlink: leaves the folder",
        "broken.txt": "symlink: broken",
        "inside.txt": "symlink: its target inside the folder is read itself",
        "hard2.txt": "same file again",
    }


def test_a_device_named_by_the_user_is_not_read():
    with pytest.raises(DataError, match="not a file: device"):
        list(reading.read([Path("/dev/zero")]))


def test_a_file_that_the_system_refuses_to_read_is_unreadable(tmp_path):
    """root may read every mode; /proc/self/mem is a regular file whose first bytes nobody can read."""
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("needs /proc")
    from ownlm.data.formats import NAMES

    NAMES["mem"] = "text"
    try:
        with pytest.raises(DataError, match="1 x unreadable: Input/output error"):
            list(reading.read([Path("/proc/self/mem")]))
    finally:
        del NAMES["mem"]


def test_no_permission(tmp_path):
    """As root the process gives up its rights for the moment, so that the mode counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        (folder / "locked.txt").write_text(GOOD)
        (folder / "good.txt").write_text(GOOD)
        (folder / "locked.txt").chmod(0)
        (folder / "closed").chmod(0)
        was_root = os.geteuid() == 0
        try:
            if was_root:
                os.seteuid(65534)
            documents, drops = split(reading.read([folder]))
        finally:
            if was_root:
                os.seteuid(0)
            (folder / "closed").chmod(0o755)
        assert set(documents) == {"good.txt"}
        denied = "Permission denied"
        assert drops == {"closed/": f"folder cannot be read: {denied}", "locked.txt": f"unreadable: {denied}"}


def test_binaries_unknown_suffixes_empty_and_too_large(tmp_path):
    rng = __import__("random").Random(0)
    (tmp_path / "noise.txt").write_bytes(rng.randbytes(5000))
    (tmp_path / "elf.txt").write_bytes(b"\x7fELF" + b"text " * 100)
    (tmp_path / "late.txt").write_bytes(b"text " * 100_000 + bytes(100_000))
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / "noname").write_text(GOOD)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text(" \n\t\n")
    (tmp_path / "large.txt").write_text("word " * 1000)
    (tmp_path / "few_nul.txt").write_bytes(GOOD.encode() * 3 + b"\0")
    documents, drops = read_folder(tmp_path, limits=Limits(file_bytes=700_000))
    assert set(documents) == {"few_nul.txt", "large.txt"}
    assert drops == {
        "noise.txt": "binary", "elf.txt": "binary", "late.txt": "binary", "picture.png": "unknown suffix .png",
        "noname": "unknown name without suffix", "empty.txt": "empty", "blank.txt": "empty",
    }  # fmt: skip
    _, drops = read_folder(tmp_path, limits=Limits(file_bytes=4999))
    assert drops["large.txt"] == "too large: more than 4999 bytes"


def test_hidden_and_generated_folders_are_counted(tmp_path):
    for name in (".git", "node_modules", "__pycache__", ".venv", "myenv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(GOOD)
    (tmp_path / "myenv" / "pyvenv.cfg").write_text("")
    documents, drops = read_folder(tmp_path)
    assert not documents
    assert set(drops) == {".git/", "node_modules/", "__pycache__/", ".venv/", "myenv/"}
    assert set(drops.values()) == {"hidden or generated folder"}


def test_bad_rows_are_dropped_one_by_one(tmp_path):
    rows = [
        b'{"text": "first row", "id": 7, "path": "p/a.md", "source": "set", "license": "MIT", "x": [1]}',
        b'{"text": "cut',
        b'{"text": 3}',
        b'{"body": "no text"}',
        b'["text"]',
        b'{"text": "a", "text": "b"}',
        b'{"text": "a", "score": NaN}',
        b'{"text": "a", "deep": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"text": "a", "deep": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"text": "  "}',
        b"",
        b'{"text": "' + b"x" * 3000 + b'"}',
        b'{"text": "last row \\ud800", "url": "https://a.b/c"}',
    ]
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(rows))
    long_rows = Limits(line_bytes=1_000_000)
    documents, drops = read_folder(tmp_path, limits=long_rows)
    assert set(documents) == {"set/p/a.md", "r.jsonl#12", "https://a.b/c"}
    first = documents["set/p/a.md"]
    assert first.text == "first row" and first.licence == "MIT"
    assert first.meta == {
        "row_id": 7, "path": "p/a.md", "source": "set", "x": [1], "place": "r.jsonl#1", "format": "markdown",
        "group": "set/p/a.md",
    }  # fmt: skip
    assert drops["r.jsonl#2"].startswith("bad JSON: ")
    assert drops["r.jsonl#3"] == "`text` is not a string: int"
    assert drops["r.jsonl#4"] == "no field `text`: it has body"
    assert drops["r.jsonl#5"] == "not an object: list"
    assert drops["r.jsonl#6"] == "duplicate key: text"
    assert drops["r.jsonl#7"] == "not JSON: the constant NaN"
    assert drops["r.jsonl#8"] == drops["r.jsonl#9"] == "JSON nested too deep"
    assert drops["r.jsonl#10"] == "empty"
    _, drops = read_folder(tmp_path, limits=Limits(line_bytes=2000))
    assert drops["r.jsonl#12"] == "line too long: more than 2000 bytes"
    assert "r.jsonl#13" not in drops


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_damaged_and_exploding_files(tmp_path, compression):
    pack = gzip.compress if compression == "gz" else zstandard.compress
    lines = b"".join(json.dumps({"text": os.urandom(50).hex()}).encode() + b"\n" for _ in range(20_000))
    whole = pack(lines)
    (tmp_path / f"whole.jsonl.{compression}").write_bytes(whole + pack(b'{"text": "second member"}\n'))
    (tmp_path / f"cut.jsonl.{compression}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / f"foreign.txt.{compression}").write_bytes(b"this is not compressed at all")
    (tmp_path / f"bomb.txt.{compression}").write_bytes(pack(bytes(40 << 20)))
    (tmp_path / f"large.txt.{compression}").write_bytes(pack(os.urandom(6 << 20).hex().encode()))
    bomb = pack(b"".join(b'{"text": "%s"}\n' % (b"a" * 1_000_000) for _ in range(30)))
    (tmp_path / f"bomb.jsonl.{compression}").write_bytes(bomb)
    items = list(reading.read([tmp_path], limits=Limits(file_bytes=10 << 20)))
    drops = split(items)[1]
    sources = [item.source for item in items if isinstance(item, Document)]
    assert sum(source.startswith("whole") for source in sources) == 20_001
    assert 0 < sum(source.startswith("cut") for source in sources) < 20_000
    assert drops[f"cut.jsonl.{compression}"] == "truncated compressed file"
    assert drops[f"foreign.txt.{compression}"].startswith("damaged compressed file: ")
    assert drops[f"bomb.txt.{compression}"].startswith("decompression ")
    assert drops[f"bomb.jsonl.{compression}"].startswith("decompression bomb")
    assert drops[f"large.txt.{compression}"].startswith("decompression limit")


def test_one_huge_line(tmp_path):
    (tmp_path / "line.txt").write_bytes(b"some words " * (50_000_000 // 11))
    began = time.process_time()
    documents, drops = read_folder(tmp_path)
    assert not drops and len(documents["line.txt"].text) > 49_000_000
    assert time.process_time() - began < 20  # seconds of this process; quadratic work would take hours


def test_charsets(tmp_path):
    text = "Größe, naïve café – “quoted” text, enough of it to be recognised.\n"
    for name, encoding in (
        ("bom8", "utf-8-sig"),
        ("bom16", "utf-16"),
        ("cp1252", "cp1252"),
        ("bom32", "utf-32"),
    ):
        (tmp_path / f"{name}.txt").write_bytes(text.encode(encoding))
    (tmp_path / "nobom16.txt").write_bytes(text.encode("utf-16-le"))
    (tmp_path / "damaged.txt").write_bytes(
        (text * 3).encode()[:-30] + b"\xff\xfe broken \xc3 end" + text.encode()
    )
    (tmp_path / "koi.html").write_bytes("<meta charset=koi8-r><p>Привет, мир".encode("koi8-r"))
    documents, drops = read_folder(tmp_path)
    assert not drops
    for name in ("bom8", "bom16", "bom32", "cp1252", "nobom16"):
        assert documents[f"{name}.txt"].text == text, name
    assert documents["cp1252.txt"].meta["encoding"] == "cp1252"
    assert documents["damaged.txt"].meta["num_replaced"] == 3
    assert documents["koi.html"].text == "Привет, мир\n"


def test_licences(tmp_path):
    (tmp_path / "LICENSE").write_text("MIT License\n\nPermission is hereby granted, free of charge, to any person "
                                      "obtaining\na copy of this software to deal in it without restriction")  # fmt: skip
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "odd").mkdir()
    (tmp_path / "sub" / "COPYING").write_text("   Apache License\n   Version 2.0, January 2004\n")
    (tmp_path / "odd" / "LICENSE.txt").write_text("You may look at it.")
    for name in ("sub/deep/a.txt", "odd/b.txt"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "c.py").write_text(f"# SPDX-License-Identifier: GPL-2.0-only\n{GOOD}")
    (tmp_path / "license.py").write_text(GOOD)
    (tmp_path / "r.jsonl").write_text('{"text": "one"}\n{"text": "two", "licence": "CC0-1.0"}\n')
    documents, drops = read_folder(tmp_path)
    assert {source: document.licence for source, document in documents.items()} == {
        "sub/deep/a.txt": "Apache-2.0", "odd/b.txt": "LicenseRef-LICENSE.txt", "c.py": "GPL-2.0-only",
        "license.py": "MIT", "r.jsonl#1": "MIT", "r.jsonl#2": "CC0-1.0",
    }  # fmt: skip
    assert set(drops) == {"LICENSE", "sub/COPYING", "odd/LICENSE.txt"}
    documents, _ = read_folder(tmp_path, licence="CC-BY-4.0")
    assert {document.licence for document in documents.values()} == {"CC-BY-4.0"}


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="empty folder"):
        list(reading.read([tmp_path]))
    with pytest.raises(DataError, match="does not exist"):
        next(reading.read([tmp_path, tmp_path / "missing"]))
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "b.png").write_bytes(b"2")
    with pytest.raises(DataError, match=r"2 x unknown suffix \.png"):
        list(reading.read([tmp_path]))


def test_several_paths_are_told_apart_and_overlaps_read_once(tmp_path):
    for name in ("a/x.txt", "b/x.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name + GOOD)
    documents, drops = split(reading.read([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "x.txt"]))
    assert set(documents) == {"a/x.txt", "b/x.txt"}
    assert drops == {"x.txt": "same file again"}


def test_deep_folders_and_a_name_that_is_not_utf8(tmp_path):
    folder = tmp_path
    for _ in range(70):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "far.txt").write_text(GOOD)
    with open(os.fsencode(tmp_path) + b"/\xff\xfe.txt", "wb") as file:
        file.write(GOOD.encode())
    documents, drops = read_folder(tmp_path)
    assert [source.encode() for source in documents] == ["��.txt".encode()]
    assert list(drops.values()) == ["folders nested too deep: more than 64"]


def count_read(folder: Path, funnel: Funnel) -> list[Document]:
    documents = []
    for item in reading.read([folder]):
        if isinstance(item, Drop):
            funnel.dropped(item)
        else:
            funnel.passed("read", len(item.text), len(item.text))
            documents.append(item)
    return documents


def test_in_is_out_plus_dropped(tmp_path):
    (tmp_path / "r.jsonl").write_text(
        "".join(f'{{"text": "{GOOD.strip()} {n}"}}\n{{bad\n' for n in range(50))
    )
    funnel = Funnel(kept=5)
    documents = count_read(tmp_path, funnel)
    step = funnel.step("read")
    assert (step.num_in, step.num_out, step.num_dropped) == (100, len(documents), 50)
    assert step.dropped == {"bad JSON": 50}
    assert len(list(funnel.samples())) == 5
    again = Funnel(kept=5)
    count_read(tmp_path, again)
    assert list(again.samples()) == list(funnel.samples())


def test_deep_html_is_refused_before_it_costs_time(tmp_path):
    (tmp_path / "deep.html").write_text("<div>" * 1_000_000 + "bottom")
    (tmp_path / "okay.html").write_text("<div>" * 1500 + "bottom" + "</div>" * 1500 + "<p>x<br>" * 5000)
    documents, drops = read_folder(tmp_path)
    assert drops == {"deep.html": "HTML nested too deep: more than 2000 elements"}
    assert documents["okay.html"].text.startswith("bottom\n")
