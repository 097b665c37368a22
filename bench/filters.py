"""Gopher quality, Gopher repetition and FineWeb rules beside datatrove: speed on one core and equal decisions.

    python bench/filters.py --peers /path/to/venv/bin/python --out bench/results/filters-$(date +%F).json

The peer runs in its own interpreter (`pip install datatrove spacy "xxhash<4" regex nltk`) on the same documents. All
three rules judge every document, also those that an earlier rule drops, so both sides do all of the work; datatrove
keeps the words of a document from one filter to the next, as does ownlm. "ownlm, one document at a time" are the
steps as a pipeline runs them; "kernel" is the counting alone. Documents: technical documentation of 12 languages,
books, Wikipedia and web pages of OWNLM_TEST_DATA, cut at --characters; both sides are told that all is English.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RULES = ("gopher quality", "gopher repetition", "fineweb")


def documents(count: int, characters: int) -> list[str]:
    """The same documents on every call: as many of each source as there are, then a seeded sample."""
    folder = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found: list[str] = []
    generator = random.Random(0)
    for path in sorted(folder.glob("text_techdocs/*.jsonl.gz")):
        rows = [json.loads(line)["text"] for line in _open(path)]
        found += generator.sample(rows, min(len(rows), 60))
    for path in sorted(folder.glob("text_books/*.txt.gz")):
        text = _open(path).read()
        chapters = [text[at : at + 4000] for at in range(0, len(text), 4000)]
        found += generator.sample(chapters, min(len(chapters), 250))
    articles = re.split(r"(?m)^(?= = [^=])", _open(folder / "text_wikitext2" / "valid.txt.gz").read())
    found += articles
    pages = json.loads((folder / "web_extraction/article_benchmark/ground-truth.json").read_text("utf-8"))
    found += [page["articleBody"] for page in pages.values()]
    crawled = _open(folder / "web_warc" / "whirlwind.warc.wet.gz").read().split("WARC/1.0")
    found += [record.partition("\n\n")[2] for record in crawled if "WARC-Type: conversion" in record]
    generator.shuffle(found)
    return [text[:characters] for text in found if text.strip()][:count]


def _open(path: Path) -> Any:
    return gzip.open(path, "rt", encoding="utf-8", errors="replace")


def own(texts: list[str]) -> tuple[float, list[list[str]]]:
    """Seconds, and the reason of each rule for each document, "" when it stays."""
    from ownlm.data.filters.fineweb import FineWebQuality
    from ownlm.data.filters.gopher import GopherQuality
    from ownlm.data.filters.repetition import GopherRepetition
    from ownlm.records import Document, Drop

    steps = [GopherQuality(), GopherRepetition(), FineWebQuality()]
    reasons = []
    start = time.perf_counter()
    for text in texts:
        document = Document("", text, "")
        outcome = [list(step(iter([document])))[-1] for step in steps]
        reasons.append([item.reason if isinstance(item, Drop) else "" for item in outcome])
    return time.perf_counter() - start, reasons


def kernel(texts: list[str]) -> float:
    from ownlm.data.filters.statistics import measure

    start = time.perf_counter()
    for text in texts:
        measure(text)
    return time.perf_counter() - start


def datatrove(texts: list[str]) -> tuple[float, list[list[str]]]:
    """The same for datatrove; runs in the peer's interpreter."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
    from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
    from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

    filters = [GopherQualityFilter(), GopherRepetitionFilter(), FineWebQualityFilter()]
    for each in filters:  # loads the tokenizer
        each.filter(Document(text="Some words and a sentence to begin with.", id="0"))
    reasons = []
    start = time.perf_counter()
    for text in texts:
        outcome = [each.filter(Document(text=text, id="0")) for each in filters]
        reasons.append(["" if result is True else result[1] for result in outcome])
    return time.perf_counter() - start, reasons


def of_peer(python: Path, texts: list[str]) -> tuple[float, list[list[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.json", Path(folder) / "made.json"
        given.write_text(json.dumps(texts), encoding="utf-8")
        command = [str(python), __file__, "--child", str(given), str(made)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        seconds, reasons = json.loads(made.read_text(encoding="utf-8"))
        return seconds, reasons


def agreement(ours: list[list[str]], theirs: list[list[str]], texts: list[str], show: int) -> dict[str, Any]:
    """Share of the documents that both keep or both drop: per rule, and by all three together."""
    pairs = list(zip(ours, theirs, texts, strict=True))
    facts: dict[str, Any] = {}
    for rule, name in enumerate(RULES):
        facts[name] = sum(bool(a[rule]) == bool(b[rule]) for a, b, _ in pairs) / len(pairs)
    facts["all rules"] = sum(any(a) == any(b) for a, b, _ in pairs) / len(pairs)
    facts["kept by ownlm"] = sum(not any(a) for a in ours)
    facts["kept by datatrove"] = sum(not any(b) for b in theirs)
    facts["kept by both"] = sum(not any(a) and not any(b) for a, b, _ in pairs)
    differing = (
        (a[rule], b[rule], text)
        for a, b, text in pairs
        for rule in range(3)
        if bool(a[rule]) != bool(b[rule])
    )
    for a, b, text in itertools.islice(differing, show):
        print(
            json.dumps({"ownlm": a, "datatrove": b, "text": text[:100]}, ensure_ascii=False), file=sys.stderr
        )
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--characters", type=int, default=8000)
    parser.add_argument("--runs", type=int, default=3, help="of ownlm; the peer runs once")
    parser.add_argument("--peers", type=Path, help="a Python interpreter that has datatrove")
    parser.add_argument("--show", type=int, default=0, help="print that many differing decisions")
    parser.add_argument(
        "--half", type=int, choices=(0, 1), help="only every other document, from this one on"
    )
    parser.add_argument("--out", type=Path, help="also write the lines there, as a JSON list")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        texts = json.loads(options.child[0].read_text(encoding="utf-8"))
        options.child[1].write_text(json.dumps(datatrove(texts)), encoding="utf-8")
        return
    texts = documents(options.documents, options.characters)
    if options.half is not None:
        texts = texts[options.half :: 2]
    lines = measured(texts, options)
    for line in lines:
        print(json.dumps(line), flush=True)
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def measured(texts: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    from ownlm.runtime import native

    own(texts[:20])  # tables are built, caches are warm
    runs = [own(texts) for _ in range(options.runs)]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    facts = {"documents": len(texts), "megabytes": round(size, 2), "native": native.status(),
             "date": time.strftime("%Y-%m-%d")}  # fmt: skip
    seconds = {
        "ownlm, one document at a time": statistics.median(run[0] for run in runs),
        "ownlm, kernel": statistics.median(kernel(texts) for _ in range(options.runs)),
    }
    agreed: dict[str, Any] = {}
    if options.peers:
        seconds["datatrove"], theirs = of_peer(options.peers, texts)
        agreed = {"agreement": agreement(runs[0][1], theirs, texts, options.show)}
    lines = []
    for who, taken in seconds.items():
        line = {"bench": "filters", "who": who, "seconds": round(taken, 4),
                "mb_per_second": round(size / taken, 2), **facts}  # fmt: skip
        if "datatrove" in seconds:
            line["times_datatrove"] = round(seconds["datatrove"] / taken, 1)
        lines.append(line | (agreed if who.startswith("ownlm, one") else {}))
    return lines


if __name__ == "__main__":
    main()
