"""What a stored response said in its headers reaches the step that obeys it."""

from __future__ import annotations

import pytest

from ownlm.data.filters.opt_out import OptOut
from ownlm.data.flow.step import run_alone
from ownlm.data.limits import Limits
from ownlm.data.sources.web_page import read_record
from ownlm.records import Document, Drop

PAGE = b"<!doctype html><html><body><p>Words of a page.</p></body></html>"


def stored(*headers: str) -> Document:
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", *headers]).encode() + b"\r\n\r\n"
    record = {
        "warc-type": "response",
        "content-type": "application/http",
        "warc-target-uri": "https://example.org/",
    }
    found = read_record(record, head + PAGE, "place", "unknown", True, Limits())
    assert isinstance(found, Document)
    return found


@pytest.mark.parametrize(
    "headers",
    [("X-Robots-Tag: noai",), ("X-Robots-Tag: max-snippet:5", "X-Robots-Tag: noai"), ("X-Robots-Tag: noai", "X-Robots-Tag: max-snippet:5"),
     ("tdm-reservation: 1",), ("Content-Usage: train-ai=n",), ("Content-Signal: ai-train=no",)],
)  # fmt: skip
def test_an_opt_out_in_the_headers_drops_the_page(headers):
    (found,) = run_alone(OptOut(), [stored(*headers)])
    assert isinstance(found, Drop) and found.reason.startswith("opted out")


@pytest.mark.parametrize(
    "headers",
    [(), ("X-Robots-Tag: max-snippet:5",), ("tdm-reservation: 0",), ("Content-Signal: ai-train=yes",)],
)
def test_other_pages_stay(headers):
    page = stored(*headers)
    assert run_alone(OptOut(), [page]) == [page]
