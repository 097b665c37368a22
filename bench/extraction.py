"""Main text out of real pages: quality and speed beside trafilatura, resiliparse, readability-lxml and jusText.

    python bench/extraction.py --peers /path/to/other/python --out bench/results/extraction-$(date +%F).json

Pages and gold are those of OWNLM_TEST_DATA/web_extraction. --peers names another interpreter that has the peers; this
same file runs there (standard library and peers only) as `--contestant NAME`, one process per contestant, one core.
Absent peers are reported and left out. One JSON line per set and contestant:

article_benchmark   gold is the whole body. Words are runs of letters and digits, lower case; a CJK character is a word.
    word_f1         mean over the pages of the F1 of the two bags of words
    shingle_f1      as article-extraction-benchmark does: bags of runs of 4 words, per page precision and recall,
                    each averaged over the pages, F1 of the two averages
trafilatura_eval    gold is segments that must be there (with) and must not (without), as trafilatura's evaluation:
    segment_f1      precision = with found / (with found + without found), recall = with found / with

Segments (some begin within a word) are looked up in the words joined by spaces, so that the marks of a heading, list
or table count for nobody.
`pages_per_second` is from the HTML string to the text, whole set, per second of CPU time (each contestant is one
thread), the fastest of --runs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTESTANTS = (
    "trafilatura",
    "trafilatura fast",
    "trafilatura default",
    "resiliparse",
    "readability",
    "justext",
)
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
Pages = dict[str, list[dict[str, Any]]]


def default_data() -> Path:
    shared = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    return shared / "web_extraction"


def load_pages(folder: Path) -> Pages:
    """Per set, pages with "html" and "gold" (the body) or "with" and "without" (segments)."""
    articles = folder / "article_benchmark"
    gold = json.loads((articles / "ground-truth.json").read_text("utf-8"))
    first = []
    for key in sorted(gold):
        with gzip.open(articles / "html" / f"{key}.html.gz") as file:
            html = file.read().decode("utf-8", "replace")
        first.append({"key": key, "html": html, "gold": gold[key]["articleBody"], "url": gold[key]["url"]})
    segments = json.loads((folder / "trafilatura_eval" / "evaldata.json").read_text("utf-8"))
    second = []
    with gzip.open(folder / "trafilatura_eval" / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            page = json.loads(line)
            facts = segments[page["url"]]
            second.append(
                {"key": page["url"], "html": page["html"], "with": facts["with"], "without": facts["without"]}
            )
    return {"article_benchmark": first, "trafilatura_eval": second}


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def sequence(text: str) -> str:
    """The words as they stand, joined by spaces: what a segment is looked up in."""
    return " ".join(_WORD.findall(text))


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def overlap(got: list[Any], wanted: list[Any]) -> tuple[float, float]:
    """Precision and recall of two bags; an empty bag has 1.0 where nothing could go wrong."""
    a, b = Counter(got), Counter(wanted)
    common = sum((a & b).values())
    return (common / len(got) if got else 1.0), (common / len(wanted) if wanted else 1.0)


def article_scores(texts: list[str], pages: list[dict[str, Any]]) -> dict[str, float]:
    per_page, shingles = [], []
    for text, page in zip(texts, pages, strict=True):
        got, wanted = words(text), words(page["gold"])
        per_page.append(f1(*overlap(got, wanted)) if got else 0.0)
        runs = [list(zip(*(x[i:] for i in range(4)), strict=False)) or [tuple(x)] for x in (got, wanted)]
        shingles.append(overlap(*runs))
    count = len(pages)
    precision, recall = (sum(pair[i] for pair in shingles) / count for i in (0, 1))
    return {
        "word_f1": round(sum(per_page) / count, 4),
        "shingle_f1": round(f1(precision, recall), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
    }


def segment_counts(text: str, page: dict[str, Any]) -> tuple[int, int, int, int]:
    """(with found, with, without found, without)."""
    line = sequence(text)
    found = [sum(sequence(segment) in line for segment in page[kind]) for kind in ("with", "without")]
    return found[0], len(page["with"]), found[1], len(page["without"])


def segment_scores(texts: list[str], pages: list[dict[str, Any]]) -> dict[str, float]:
    counts = [segment_counts(text, page) for text, page in zip(texts, pages, strict=True)]
    right, wanted, wrong, _ = (sum(column) for column in zip(*counts, strict=True))
    precision, recall = right / (right + wrong) if right + wrong else 0.0, right / wanted if wanted else 0.0
    return {
        "segment_f1": round(f1(precision, recall), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
    }


def scores(name: str, texts: list[str], pages: list[dict[str, Any]]) -> dict[str, float]:
    rate = article_scores if name == "article_benchmark" else segment_scores
    return {**rate(texts, pages), "num_empty": sum(not text.strip() for text in texts)}


def _trafilatura(**options: Any) -> Callable[[str], str]:
    from trafilatura import extract

    return lambda html: extract(html, **options) or ""


def _resiliparse() -> Callable[[str], str]:
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True)


def _readability() -> Callable[[str], str]:
    from lxml import html as lxml_html
    from readability import Document

    def work(html: str) -> str:
        summary = Document(html).summary(html_partial=True)
        tree = lxml_html.fromstring(summary)
        for node in tree.iter("p", "div", "br", "li", "td", "h1", "h2", "h3", "h4", "tr"):
            node.tail = "\n" + (node.tail or "")
        return str(tree.text_content())

    return work


def _justext() -> Callable[[str], str]:
    import justext

    stop = justext.get_stoplist("English") | justext.get_stoplist("German")
    return lambda html: "\n".join(p.text for p in justext.justext(html, stop) if not p.is_boilerplate)


def _own(engine: str = "ownlm") -> Callable[[str], str]:
    from ownlm.data.extract.extract import Extract
    from ownlm.data.flow.step import run_alone
    from ownlm.records import Document

    step = Extract(min_characters=1)

    def work(html: str) -> str:
        (result,) = run_alone(step, [Document("page", html, "page", meta={"format": "html"})])
        return result.text if isinstance(result, Document) else ""

    return work


MAKERS: dict[str, Callable[[], Callable[[str], str]]] = {
    "ownlm": _own,
    "trafilatura": lambda: _trafilatura(include_comments=False),
    "trafilatura fast": lambda: _trafilatura(include_comments=False, no_fallback=True),
    "trafilatura default": lambda: _trafilatura(),
    "resiliparse": _resiliparse,
    "readability": _readability,
    "justext": _justext,
}


def contest(name: str, folder: Path, runs: int) -> list[dict[str, Any]]:
    """What one contestant makes of every page, with its seconds; run in a process of its own."""
    work = MAKERS[name]()
    results = []
    for set_name, pages in load_pages(folder).items():
        work(pages[0]["html"])  # tables, weights and patterns are made once per process
        seconds, failures = [], 0
        for _ in range(runs):
            texts, start, failures = [], time.process_time(), 0
            for page in pages:
                try:
                    texts.append(work(page["html"]))
                except Exception:
                    texts.append("")
                    failures += 1
            seconds.append(time.process_time() - start)
        results.append({"set": set_name, "texts": texts, "seconds": min(seconds), "num_failures": failures})
    return results


def ask(python: str, name: str, folder: Path, runs: int) -> list[dict[str, Any]] | None:
    """The same through another interpreter; None where the peer is not installed there."""
    command = [python, __file__, "--contestant", name, "--data", str(folder), "--runs", str(runs)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:]
        print(json.dumps({"bench": "extraction", "who": name, "absent": True, "error": last}), flush=True)
        return None
    return list(json.loads(answer.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--peers", help="another Python interpreter, with the peers installed")
    parser.add_argument("--only", nargs="*", default=["ownlm", *CONTESTANTS], help="contestants to run")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help="also write every text there, as JSON")
    parser.add_argument("--out", type=Path, help="also write the lines there, as a JSON list")
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.data, options.runs)))
        return
    pages = load_pages(options.data)
    lines, texts = [], {}
    for name in options.only:
        python = sys.executable if name == "ownlm" else options.peers
        if not python or (results := ask(python, name, options.data, options.runs)) is None:
            continue
        texts[name] = {result["set"]: result["texts"] for result in results}
        for result in results:
            here = pages[result["set"]]
            size = sum(len(page["html"].encode()) for page in here)
            line = {
                "bench": "extraction", "set": result["set"], "who": name, "num_pages": len(here),
                **scores(result["set"], result["texts"], here), "num_failures": result["num_failures"],
                "pages_per_second": round(len(here) / result["seconds"], 1),
                "mb_per_second": round(size / 1e6 / result["seconds"], 2), "date": time.strftime("%Y-%m-%d"),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
            lines.append(line)
    if options.texts:
        options.texts.write_text(json.dumps(texts), encoding="utf-8")
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
