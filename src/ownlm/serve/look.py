"""The routes for looking: models, passages, documents, lineage, feedback, health, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from fastapi import Request as HttpRequest
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ownlm.errors import OwnlmError
from ownlm.records import Document, Passage
from ownlm.serve.metrics import CONTENT_TYPE
from ownlm.serve.service import Service, service_of
from ownlm.serve.wire.errors import WireError
from ownlm.serve.wire.openai import Strict

CONTEXT = 2_000  # characters shown before and after a passage
MAX_WINDOW = 50_000  # characters of a document in one response
MAX_SPANS = 200  # of the lineage of one answer
AROUND = 160  # characters shown before and after an overlap

PassageId = Annotated[int, Path(ge=0, le=2**63 - 1)]
DocumentId = Annotated[str, Path(min_length=1, max_length=1_024)]


class LineageRequest(Strict):
    answer: Annotated[str, Field(max_length=65_536)]
    passages: Annotated[list[Annotated[int, Field(ge=0, le=2**63 - 1)]], Field(max_length=64)] = []


class FeedbackRequest(Strict):
    rating: Literal["up", "down"]
    id: Annotated[str, Field(max_length=64)] = ""  # of the answer: chatcmpl-...
    question: Annotated[str, Field(max_length=16_384)] = ""
    answer: Annotated[str, Field(max_length=65_536)] = ""
    comment: Annotated[str, Field(max_length=4_096)] = ""
    correction: Annotated[str, Field(max_length=65_536)] = ""  # a better answer
    consent: bool = False  # to learn from this row: without it the flywheel leaves it out


def models(http: HttpRequest) -> Response:
    """Both models, and under `ownlm` what the model is built from and questions to try."""
    service = service_of(http)

    def entry(name: str, grounded: bool) -> dict[str, Any]:
        facts = {"grounded": grounded, "digest": service.model_info.get("digest")}
        return {
            "id": name,
            "object": "model",
            "created": service.created,
            "owned_by": "ownlm",
            "ownlm": facts,
        }

    about = {
        "model": {**service.model_info, "name": service.name},
        "examples": list(service.examples),
        "lineage": service.lineage is not None,
        "feedback": service.feedback is not None,
    }
    data = [entry(service.name, True), entry(service.raw_name, False)]
    return JSONResponse({"object": "list", "data": data, "ownlm": about})


def model(http: HttpRequest, model_id: Annotated[str, Path(max_length=512)]) -> Response:
    service = service_of(http)
    service.pick(model_id)
    facts = {"grounded": model_id == service.name, "digest": service.model_info.get("digest")}
    body = {
        "id": model_id,
        "object": "model",
        "created": service.created,
        "owned_by": "ownlm",
        "ownlm": facts,
    }
    return JSONResponse(body)


def passage(http: HttpRequest, passage_id: PassageId) -> Response:
    """A passage inside its document: the text around it, with the positions of both."""
    service = service_of(http)
    found = _passage(service, passage_id)
    document = _document(service, found.document_id)
    start = _line_start(document.text, max(0, found.start - CONTEXT))
    end = min(len(document.text), found.end + CONTEXT, start + MAX_WINDOW)
    return JSONResponse({"passage": _passage_body(found), "document": _window(document, start, end)})


def document(
    http: HttpRequest,
    document_id: DocumentId,
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
    length: Annotated[int, Query(ge=1, le=MAX_WINDOW)] = 10_000,
) -> Response:
    """A window of a document's text; `num_characters` says how much there is."""
    found = _document(service_of(http), document_id)
    start = min(start, len(found.text))
    return JSONResponse({"document": _window(found, start, min(len(found.text), start + length))})


def lineage(http: HttpRequest, body: LineageRequest) -> Response:
    """Verbatim overlaps of an answer with training documents, its passages, and the model behind it."""
    service = service_of(http)
    if service.lineage is None:
        raise WireError(404, "This server has no index of its training documents.", code="no_lineage")
    passages = [_passage_body(_passage(service, number)) for number in body.passages]
    result = dict(service.lineage(body.answer, tuple(body.passages)))
    spans = [_with_surroundings(service, span) for span in list(result.pop("spans", []))[:MAX_SPANS]]
    model = {**service.model_info, "name": service.name}
    return JSONResponse({**result, "spans": spans, "passages": passages, "model": model})


def feedback(http: HttpRequest, body: FeedbackRequest) -> Response:
    service = service_of(http)
    if service.feedback is None:
        raise WireError(404, "This server keeps no feedback.", code="no_feedback")
    service.feedback.append({**body.model_dump(), "model_digest": service.model_info.get("digest")})
    service.metrics.feedback.labels(body.rating).inc()
    return JSONResponse({"status": "ok"})


def health(http: HttpRequest) -> Response:
    """Only whether requests are taken; nothing about the machine."""
    service = service_of(http)
    if service.drain_at is None and service.ready():
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "not ready"}, status_code=503, headers={"retry-after": "5"})


def metrics(http: HttpRequest) -> Response:
    return Response(service_of(http).metrics.text(), headers={"content-type": CONTENT_TYPE})


def openapi(http: HttpRequest) -> Response:
    return JSONResponse(http.app.openapi())


def _passage(service: Service, passage_id: int) -> Passage:
    try:
        found = service.passages.passage(passage_id)
    except (KeyError, OwnlmError):
        found = None
    if found is None:
        raise WireError(404, "There is no passage with that id.", param="passage_id", code="not_found")
    return found


def _document(service: Service, document_id: str) -> Document:
    try:
        found = service.passages.document(document_id)
    except (KeyError, OwnlmError):
        found = None
    if found is None:
        raise WireError(404, "There is no document with that id.", param="document_id", code="not_found")
    return found


def _passage_body(passage: Passage) -> dict[str, Any]:
    names = ("id", "document_id", "title", "source", "licence", "text", "start", "end")
    return {name: getattr(passage, name) for name in names}


def _window(document: Document, start: int, end: int) -> dict[str, Any]:
    return {
        "id": document.id,
        "source": document.source,
        "licence": document.licence,
        "num_characters": len(document.text),
        "start": start,
        "end": end,
        "text": document.text[start:end],
    }


def _line_start(text: str, position: int) -> int:
    """The next line start at or after `position`, if it is near; a window then begins with a whole line."""
    if position == 0:
        return 0
    newline = text.find("\n", position, position + 200)
    return position if newline < 0 else newline + 1


def _with_surroundings(service: Service, span: Mapping[str, Any]) -> dict[str, Any]:
    """The span with the text around it in its training document; without it when the text is not kept."""
    try:
        document = _document(service, str(span["document_id"]))
    except WireError:
        return {**span, "before": None, "after": None}
    start, end = int(span["document_start"]), int(span["document_end"])
    text = document.text
    return {**span, "before": text[max(0, start - AROUND) : start], "after": text[end : end + AROUND]}
