"""Documents for the tests of this room: small ones written here, real ones where the test data is."""

import gzip
import json
import os
import sysconfig
from functools import lru_cache
from pathlib import Path

import pytest

from ownlm.data.clean import repair
from ownlm.data.rows import document_id
from ownlm.records import Document

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

PYTHON = '''"""Text wrapping and filling."""

import re

MARKER = 1

class Wrapper:
    """Object for wrapping text. It keeps the width.

    Lines longer than the width are broken.
    """

    x = 1

    def fill(self, text):
        """Return one string of wrapped lines.

        Raises ValueError if the width is negative.
        """
        return "".join(self.wrap(text))

    def wrap(self, text): return [text]

def shorten(text, width, **kwargs):
    """Collapse and truncate the given text to fit in the given width.

    The text first has its whitespace collapsed. Returns the collapsed string when it
    fits, e.g. in one line.

    >>> shorten("a b", 1)
    'a'
    """
    return text[:width]
'''

MARKDOWN = """---
title: ignored by the heading
---

# Guide {#guide}

The guide explains the kettle. It was written in 2020.

## Installing the kettle

Run the installer and wait until the red light is off. Then fill in water.

```sh
# not a heading
install kettle
```

## `boil()`

Boils the water. It returns the temperature as a number.

- first item of a list of things
- second item, which is `code`
"""

RST = """=====
Title
=====

Opening words of the page, that say what it is about.

Usage of Things
---------------

A thing is a part of the whole. See :func:`foo.bar` for more about it.
"""

BOOK = "\n\n".join(
    [
        "THE BLUE LAMP",
        "by A. Nobody",
        "CHAPTER I",
        "The lamp stood by the door. Mr. Weatherby, the owner of the lamp, was away. " * 3,
        "CHAPTER II",
        "A frigate is a kind of ship that is fast and light. Nobody had seen one at Marlow. " * 2,
    ]
)


def document(text, source, **meta):
    return Document(document_id(source, text), text, source, "CC0-1.0", meta)


def small():
    return [
        document(PYTHON, "src/wrapping/textwrap.py", format="code", programming_language="python"),
        document(MARKDOWN, "docs/guide.md", format="markdown"),
        document(RST, "docs/title.rst", format="rst"),
        document(BOOK, "blue-lamp.txt", format="text"),
    ]


@lru_cache
def library(names: tuple[str, ...] = ()) -> list[Document]:
    """Modules of the running Python, repaired as the pipeline does."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [root / name for name in names] if names else sorted(root.glob("*.py"))
    found = []
    for path in paths:
        text = repair(path.read_bytes().decode("utf-8", "replace"))[0]
        found.append(
            document(text, path.relative_to(root).as_posix(), format="code", programming_language="python")
        )
    return found


@lru_cache
def rows(name: str) -> list[Document]:
    path = DATA / "text_techdocs" / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"needs the test data: {path} (set OWNLM_TEST_DATA)")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [
        document(row["text"], f"{row['source']}/{row['path']}", format="text", place=name) for row in found
    ]


@lru_cache
def book(name: str) -> Document:
    path = DATA / "text_books" / f"{name}.txt.gz"
    if not path.is_file():
        pytest.skip(f"needs the test data: {path} (set OWNLM_TEST_DATA)")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return document(repair(file.read())[0], f"{name}.txt", format="text")
