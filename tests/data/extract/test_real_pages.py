"""Real pages with gold text. They took part in the training, so this guards against regressions and proves no quality:
the cross-validated figures are those of bench/extraction_training.py --folds 5."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from ownlm.data.extract.blocks import read_blocks
from ownlm.data.extract.extract import main_text

FOLDER = (
    Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "web_extraction"
)
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no web_extraction below OWNLM_TEST_DATA")
NUM_PAGES = 25
DROPPED = (
    "script style textarea iframe noframes noembed xmp svg math noscript select button object canvas audio video map "
    "datalist dialog template title head"
).split()  # fmt: skip


def articles() -> list[tuple[str, str]]:
    """(source, body) of the first pages by key."""
    gold = json.loads((FOLDER / "article_benchmark" / "ground-truth.json").read_text("utf-8"))
    files = {
        key: FOLDER / "article_benchmark" / "html" / f"{key}.html.gz" for key in sorted(gold)[:NUM_PAGES]
    }
    return [
        (gzip.decompress(file.read_bytes()).decode("utf-8", "replace"), gold[key]["articleBody"])
        for key, file in files.items()
    ]


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def test_bodies_of_articles_are_found():
    rates = []
    for source, body in articles():
        got, wanted = words(main_text(source).text), words(body)
        rates.append(2 * (got & wanted).total() / max(1, got.total() + wanted.total()))
    assert sum(rates) / len(rates) >= 0.955


def test_what_must_stay_stays_and_what_must_go_goes():
    facts = json.loads((FOLDER / "trafilatura_eval" / "evaldata.json").read_text("utf-8"))
    counts: Counter[str] = Counter()
    with gzip.open(FOLDER / "trafilatura_eval" / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line, _ in zip(lines, range(NUM_PAGES), strict=False):
            page = json.loads(line)
            text = " ".join(main_text(page["html"]).text.split())
            for kind in ("with", "without"):
                counts[kind] += len(facts[page["url"]][kind])
                counts[f"{kind} found"] += sum(segment in text for segment in facts[page["url"]][kind])
    assert counts["with found"] >= 0.8 * counts["with"]
    assert counts["without found"] <= 0.2 * counts["without"]


def test_words_of_real_pages_agree_with_lexbor():
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for source, _ in articles():
        parser = LexborHTMLParser(source)
        parser.strip_tags(DROPPED, recursive=True)
        theirs += words(parser.body.text(separator=" "))
        ours += words(" ".join(block.text for block in read_blocks(source).blocks))
    assert ((ours - theirs) | (theirs - ours)).total() <= 0.01 * theirs.total()
