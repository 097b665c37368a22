"""Passages in their documents, lineage, feedback."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import standin
from standin import HTTP

from ownlm.records import Document
from ownlm.serve import look


def test_passage_comes_inside_its_document(live):
    body = HTTP.get(live.url + "/v1/passages/11").json()
    passage, document = body["passage"], body["document"]
    assert (
        document["text"][passage["start"] - document["start"] : passage["end"] - document["start"]]
        == passage["text"]
    )
    assert passage["text"].startswith("Insert item x") and document["licence"] == "PSF-2.0"


@pytest.mark.parametrize("line", ["word " * 9 + "\n", "wörd 😀 ", "x"])
def test_passage_window_of_a_long_document(line, monkeypatch):
    text = line * 5_000
    store = standin.Store()
    store.documents["long"] = Document("long", text, "long.txt")
    start = len(text) // 2
    store.passages[50] = replace(
        store.passages[11],
        id=50,
        document_id="long",
        start=start,
        end=start + 300,
        text=text[start : start + 300],
    )
    app, _ = standin.make_app(passages=store)
    with standin.served(app) as url:
        document = HTTP.get(url + "/v1/passages/50").json()["document"]
    assert document["start"] <= start and document["end"] >= start + 300
    assert document["text"] == text[document["start"] : document["end"]]
    assert document["end"] - document["start"] <= 2 * look.CONTEXT + 300


def test_document_windows_join_to_the_text(live):
    at, pieces = 0, []
    while True:
        document = HTTP.get(live.url + f"/v1/documents/d1?start={at}&length=50").json()["document"]
        pieces.append(document["text"])
        at = document["end"]
        if at == document["num_characters"]:
            break
    assert "".join(pieces) == standin.BISECT


def test_ids_with_slashes_are_only_ids(live):
    live.app.state.service.passages.documents["docs/a b#1"] = Document("docs/a b#1", "text", "s")
    assert HTTP.get(live.url + "/v1/documents/docs%2Fa%20b%231").json()["document"]["text"] == "text"
    for hostile in ("../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/etc/passwd", "d1'--", "x" * 1025):
        assert HTTP.get(live.url + "/v1/documents/" + hostile).status_code in (400, 404)


@pytest.mark.parametrize("path", ["/v1/passages/99", "/v1/documents/nope"])
def test_unknown_id_is_a_404(live, path):
    answer = HTTP.get(live.url + path)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


def test_lineage_shows_overlaps_in_their_surroundings(live):
    answer = "bisect.insort: Insert item x in list a, and keep it sorted assuming a is sorted. [1]"
    body = HTTP.post(live.url + "/v1/lineage", json={"answer": answer, "passages": [11, 13]}).json()
    (span,) = body["spans"]
    assert (
        answer[span["start"] : span["end"]]
        == "Insert item x in list a, and keep it sorted assuming a is sorted."
    )
    joined = span["before"] + answer[span["start"] : span["end"]] + span["after"]
    assert joined in standin.BISECT
    assert [passage["id"] for passage in body["passages"]] == [11, 13]
    assert body["model"]["licences"] == standin.MODEL_INFO["licences"]


def test_lineage_without_an_index_is_a_404():
    app, _ = standin.make_app(lineage=None)
    with standin.served(app) as url:
        assert HTTP.post(url + "/v1/lineage", json={"answer": "x"}).status_code == 404
        assert HTTP.post(url + "/v1/feedback", json={"rating": "up"}).status_code == 404
        about = HTTP.get(url + "/v1/models").json()["ownlm"]
        assert about["lineage"] is False and about["feedback"] is False


def test_feedback_is_one_line_each_whatever_the_text(live):
    texts = ["line\nbreak", "\x1b[31mred", "\u2028\u202e", '"}\n{"forged": 1}', "x" * 16_000, "😀"]

    def send(text: str) -> int:
        body = {"rating": "down", "question": text, "answer": text, "id": "chatcmpl-1"}
        return HTTP.post(live.url + "/v1/feedback", json=body).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(send, texts * 3)) == {200}
    lines = live.feedback.read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == 18
    records = [json.loads(line) for line in lines]
    assert sorted(record["question"] for record in records) == sorted(texts * 3)
    assert all(record["model_digest"] == standin.MODEL_INFO["digest"] for record in records)
    assert live.feedback.read_bytes().isascii() and live.feedback.stat().st_mode & 0o077 == 0


def test_full_feedback_file_is_said(live, monkeypatch):
    monkeypatch.setattr("ownlm.serve.feedback.MAX_FILE_BYTES", 100)
    answer = HTTP.post(live.url + "/v1/feedback", json={"rating": "up", "question": "x" * 200})
    assert answer.status_code == 500 and not live.feedback.exists()


def test_assets_have_validators_and_only_known_names(live):
    first = HTTP.get(live.url + "/ui/page.css")
    assert first.headers["content-type"].startswith("text/css")
    again = HTTP.get(live.url + "/ui/page.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    for name in ("app.py", "../app.py", "..%2fapp.py", "page.css/", "", "%00"):
        assert HTTP.get(live.url + "/ui/" + name).status_code == 404
