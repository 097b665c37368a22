"""The default text: the standard library of the running Python, as source and as stubs of its C modules.

One document per module file (source `textwrap.py`, `json/decoder.py`), one per module that is compiled into the
interpreter (source `math.pyi`, made of signatures and docstrings, stubs.py), one per language topic of `help()`
(source `pydoc_data/topics/with.txt`). Left out: tests, demos, installed packages, private top-level modules other
than the few that implement a public one, and the tables of `encodings`.
"""

from __future__ import annotations

import ast
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from ownlm.data import stubs
from ownlm.data.encoding import decode
from ownlm.data.rows import document_id
from ownlm.errors import DataError
from ownlm.records import Document

LICENCE = "PSF-2.0"
_LEFT_OUT = frozenset({
    "test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages",
    "__pycache__", "encodings", "ensurepip", "lib-dynload", "pydoc_data", "__phello__", "antigravity.py",
    "this.py", "config",
})  # fmt: skip
# Private modules that hold the documented Python source of a public one.
_IMPLEMENTATIONS = frozenset({
    "_collections_abc.py", "_pydecimal.py", "_pydatetime.py", "_weakrefset.py", "_strptime.py", "_pyrepl",
})  # fmt: skip
# The module under which people know what is in a file.
_KNOWN_AS = {
    "posixpath": "os.path", "genericpath": "os.path", "_collections_abc": "collections.abc", "_pydecimal": "decimal",
    "_pydatetime": "datetime", "_strptime": "time",
}  # fmt: skip
_LEFT_OUT_PREFIXES = ("config-", "__phello__", "_sysconfigdata")


def standard_library() -> Iterator[Document]:
    """Documents of the default text, sorted by source within each of the three kinds.

    Raises DataError when this Python was installed without the source of its library.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    meta = {"python": platform.python_version(), "licence_text": licence_place(root)}
    count = 0
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        data = path.read_bytes()
        if data.strip():
            count += 1
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            facts = {
                "format": "code",
                "programming_language": "python",
                "module": _KNOWN_AS.get(module, module),
                **meta,
            }
            yield _document(name, decode(data).text, facts)
    if not count:
        raise DataError(
            "This Python has no source of its standard library.", str(root), "name your own text with --data"
        )
    for module, text in stubs.compiled_modules():
        yield _document(
            f"{module}.pyi",
            text,
            {"format": "code", "programming_language": "python", "module": module, **meta},
        )
    yield from _topics(root, meta)


def licence_place(root: Path) -> str:
    """Where the text of the PSF licence is: a file of this Python, else its web address."""
    prefix = Path(sys.base_prefix)
    for place in (root / "LICENSE.txt", prefix / "LICENSE.txt", prefix / "LICENSE"):
        if place.is_file():
            return place.name if place.parent == root else str(place)
    return "https://docs.python.org/3/license.html"


def _files(root: Path) -> Iterator[Path]:
    """The .py files of public modules, folders entered in place, sorted by name."""
    for path in sorted(root.iterdir(), key=lambda path: path.name):
        name = path.name
        private = name.startswith("_") and name not in _IMPLEMENTATIONS and name != "__future__.py"
        if private or name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES) or path.is_symlink():
            continue
        if path.is_dir() and (path / "__init__.py").is_file():
            yield from _package(path)
        elif path.suffix == ".py":
            yield path


def _package(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name in _LEFT_OUT or path.is_symlink():
            continue
        if path.is_dir():
            yield from _package(path)
        elif path.suffix == ".py":
            yield path


def _topics(root: Path, meta: dict[str, str]) -> Iterator[Document]:
    """The chapters of the language reference that `help("with")` shows; read as data, never imported."""
    path = root / "pydoc_data" / "topics.py"
    if not path.is_file():
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    for topic, text in sorted(ast.literal_eval(assigned[0]).items()):
        yield _document(f"pydoc_data/topics/{topic}.txt", text, {"format": "rst", "topic": topic, **meta})


def _document(source: str, text: str, meta: dict[str, str]) -> Document:
    return Document(document_id(source, text), text, source, LICENCE, meta)
