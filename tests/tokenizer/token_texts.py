"""Texts for the tokenizer tests: from the public test data, and small ones made here."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path

TRICKY = " \n\r\t'/sSdDrRvVeElLmMtT12AaÀàªʰ\u0301²٣\u2003\xa0ſǅ中.,!😀\u0300\x85\0<|>"


def _rows(path: Path, every: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for n, line in enumerate(file) if n % every == 0]


def techdocs(data: Path, every: int) -> list[str]:
    """Every n-th document of each language and source."""
    return [
        text for path in sorted((data / "text_techdocs").glob("*.jsonl.gz")) for text in _rows(path, every)
    ]


def code(data: Path, every: int) -> list[str]:
    return _rows(data / "code_python_stdlib" / "stdlib.jsonl.gz", every)


def naughty(data: Path) -> list[str]:
    strings = json.loads((data / "strings_naughty" / "blns.json").read_text(encoding="utf-8"))
    tests = (data / "strings_naughty" / "utf8tests.txt").read_bytes().decode("utf-8", errors="replace")
    return [*strings, tests]


def declarations(data: Path, every: int) -> list[str]:
    """The Universal Declaration of Human Rights in every n-th language."""
    with zipfile.ZipFile(data / "text_udhr" / "udhr2.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))[::every]
        return [archive.read(name).decode("utf-8", errors="replace") for name in names]


def random_texts(seed: int, count: int, length: int) -> list[str]:
    """Half from characters that the split patterns care about, half from all of Unicode."""
    rng = random.Random(seed)
    texts = []
    for n in range(count):
        if n % 2:
            codes = (rng.randrange(0x110000) for _ in range(length))
            texts.append("".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000))
        else:
            texts.append("".join(rng.choices(TRICKY, k=length)))
    return texts


def synthetic(seed: int, size: int = 2000) -> list[str]:
    """Text with a few hundred made-up words, so that merges exist."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdeéß你 '12\n", k=rng.randint(1, 9))) for _ in range(200)]
    return [" ".join(rng.choices(words, k=size // 20)) for _ in range(20)]
