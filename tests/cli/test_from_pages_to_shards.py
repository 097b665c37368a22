"""One command from raw pages to token shards: everything planted in a small crawl is found, and nothing else goes."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ownlm.cli.data import app
from ownlm.data import store
from ownlm.data.flow.execute import read_output
from ownlm.data.shards import Shards

SENTENCES = """The harbour lies at the mouth of a slow river, and most of the boats that use it carry timber.
In the autumn the wind turns to the north, so the pilots wait for the tide before they leave the quay.
A school stands behind the market where the children of the fishermen learn to read the charts.
Nobody remembers who built the lighthouse, but every family has a story about the night it was lit.
The old ferry was sold last year because its engine could not be repaired with the parts at hand.
Visitors come for the painted houses, which the town council protects with a strict set of rules.
When the ice breaks in spring, the mill begins to turn again and the whole valley hears its wheel.
There is a bakery at the corner that opens at four in the morning for the crews of the first boats.
The museum keeps three hundred models of ships, and its director can tell the history of each one.
Two bridges cross the river, but only the upper one is wide enough for the carts of the farmers.""".split(
    "\n"
)
GERMAN = """Der Hafen liegt an der Mündung eines langsamen Flusses, und die meisten Boote bringen Holz in die Stadt.
Im Herbst dreht der Wind nach Norden, deshalb warten die Lotsen auf die Flut, bevor sie den Kai verlassen.
Hinter dem Markt steht eine Schule, in der die Kinder der Fischer lernen, die Karten zu lesen."""
MENU = "<nav><ul>" + "".join(f'<li><a href="/{n}">Menu entry {n}</a></li>' for n in range(12)) + "</ul></nav>"
QUESTION = "Which of the following bodies of water lies directly between the northern coast of the island and the mainland harbour?"


def article(seed: int, extra: str = "") -> str:
    """Ten sentences in an order of their own, every sixth word another one: no two articles are near-duplicates."""
    rng = random.Random(seed)
    sentences = [sentence.strip() for sentence in rng.sample(SENTENCES, 10)]
    paragraphs = []
    for number in range(5):
        words = " ".join(sentences[2 * number : 2 * number + 2]).split()
        for at in rng.sample(range(len(words)), len(words) // 6):
            words[at] = rng.choice(
                ["harbour", "valley", "captain", "garden", "winter", "letter", "station", "window"]
            )
        paragraphs.append("<p>" + " ".join(words) + (extra if number == 3 else "") + "</p>")
    return "\n".join(paragraphs)


def page(body: str, head: str = "") -> bytes:
    footer = "<footer><p>Copyright of nobody. <a href='/privacy'>Privacy</a></p></footer>"
    text = f"<!doctype html><html><head><title>Page</title>{head}</head><body>{MENU}<main><h1>A town</h1>{body}</main>{footer}</body></html>"
    return text.encode()


def record(number: int, html: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", *headers]
    block = "\r\n".join(lines).encode() + b"\r\n\r\n" + html
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://town.example/{number}\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    return gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0)


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 articles; 0 again with other white space; 1 with one word changed; a German page; a page that opts out in a header,
    one in its HTML; a leaked question; an e-mail address; a stub."""
    folder = tmp_path_factory.mktemp("crawl")
    pages = [record(number, page(article(number))) for number in range(40)]
    pages.append(record(100, page(article(0).replace("</p>", "</p>\n\n"))))
    pages.append(record(101, page(article(1).replace("the ", "that ", 1))))
    pages.append(record(102, page("".join(f"<p>{line} {line}</p>" for line in GERMAN.split("\n")) * 2)))
    pages.append(record(103, page(article(103)), "X-Robots-Tag: noai"))
    pages.append(record(104, page(article(104), '<meta name="tdm-reservation" content="1">')))
    pages.append(record(105, page(article(105, " " + QUESTION))))
    pages.append(record(106, page(article(106, " Write to jane.roe@town.example for a ticket."))))
    pages.append(record(107, page("<p>Nothing here.</p>")))
    (folder / "town.warc.gz").write_bytes(b"".join(pages))
    (folder / "exam.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "the strait"}) + "\n")
    steps = ["url_filter", "opt_out", "extract", "clean", {"language": {"languages": ["en"]}}, "gopher_repetition", "gopher_quality",
             {"c4": {"require_terminal": False}}, "dedup_exact", "dedup_minhash", {"decontaminate": {"against": ["exam.jsonl"]}}, "pii"]  # fmt: skip
    steps[-2] = {"decontaminate": {"against": [str(folder / "exam.jsonl")]}}
    (folder / "town.yaml").write_text(
        yaml.safe_dump({"name": "town", "read": ["town.warc.gz"], "steps": steps, "part_megabytes": 0.02})
    )
    return folder


def test_planted_pages_go_for_the_right_reason_and_the_rest_become_tokens(crawl: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(crawl / "town.yaml"), "--out", str(crawl / "out"), "--shards", str(crawl / "shards"), "--json"],
                                env={"OWNLM_QUIET": "1"})  # fmt: skip
    assert result.exception is None, result.exception
    facts = json.loads(result.stdout)
    dropped = {
        row["source"].rpartition("/")[2]: (row["step"], row["reason"])
        for row in store.read_rows(crawl / "out" / "dropped.jsonl.zst")
    }
    steps = {number: step for number, (step, _) in dropped.items()}
    assert steps.pop("107") in ("extract", "gopher_quality", "c4")
    assert steps == {
        "100": "dedup_exact",
        "101": "dedup_minhash",
        "102": "language",
        "103": "opt_out",
        "104": "opt_out",
        "105": "decontaminate",
    }, dropped
    assert facts["num_documents"] == 41
    documents = list(read_output(crawl / "out"))
    joined = "\n".join(document.text for document in documents)
    assert (
        "jane.roe" not in joined
        and "[EMAIL" in joined
        and "Menu entry" not in joined
        and "Copyright of nobody" not in joined
    )
    assert all(
        document.meta["language"] == "en" and document.meta["url"].startswith("https://town.example/")
        for document in documents
    )
    shards = Shards(crawl / "shards" / "train")
    assert shards.num_documents == 41 and shards.num_tokens == facts["shards"]["num_tokens"]
    assert shards.document_at(shards.num_tokens - 1)[0] == documents[-1].id
