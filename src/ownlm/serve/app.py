"""Puts the service together: routes with their permissions, the gate in front, errors on the way out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ownlm.errors import OwnlmError
from ownlm.records import Generate
from ownlm.serve import answer, look, page
from ownlm.serve.admission import (
    LOOPBACK_HOSTS,
    PERMISSION,
    Gate,
    GuardedRoute,
    KeyCheck,
    Permission,
    check_permissions,
)
from ownlm.serve.feedback import Feedback
from ownlm.serve.service import PassageStore, Service
from ownlm.serve.wire.errors import WireError, from_exception, from_validation
from ownlm.serve.wire.openai import UNSUPPORTED

log = logging.getLogger("ownlm.serve")

Endpoint = Callable[..., Any]

ROUTES: tuple[tuple[str, str, Endpoint, Permission], ...] = (
    ("POST", "/v1/chat/completions", answer.chat, "key"),
    ("POST", "/v1/completions", answer.completions, "key"),
    ("GET", "/v1/models", look.models, "key"),
    ("GET", "/v1/models/{model_id:path}", look.model, "key"),
    ("GET", "/v1/passages/{passage_id}", look.passage, "key"),
    ("GET", "/v1/documents/{document_id:path}", look.document, "key"),
    ("POST", "/v1/lineage", look.lineage, "key"),
    ("POST", "/v1/feedback", look.feedback, "key"),
    ("GET", "/metrics", look.metrics, "key"),
    ("GET", "/openapi.json", look.openapi, "key"),
    ("GET", "/health", look.health, "open"),
    ("GET", "/", page.page, "open"),
    ("GET", "/ui/{name}", page.asset, "open"),
)


def create_app(
    generator: Generate,
    *,
    raw: Generate,
    lineage: Callable[[str, tuple[int, ...]], Mapping[str, Any]] | None,
    passages: PassageStore,
    model_info: Mapping[str, Any],
    examples: Sequence[str] = (),
    api_key: str | None = None,
    feedback_path: Path | None = None,
    allowed_hosts: Collection[str] | None = LOOPBACK_HOSTS,
    ready: Callable[[], bool] = lambda: True,
) -> FastAPI:
    """The application. `generator` answers from the documents, `raw` is the bare language model.

    lineage(answer, passage ids) gives `spans`; one with in_training False stands in an indexed document only.
    generator, raw, lineage and passages are called from worker threads.
    allowed_hosts: names accepted in the Host header; None accepts any (a public address behind a proxy).
    Raises RuntimeError when a route declares no permission.
    """
    app = FastAPI(
        title="ownlm",
        version=_version(),
        docs_url=None,  # the stock pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = GuardedRoute
    app.state.key_check = KeyCheck(api_key)
    app.state.assets = page.assets()
    app.state.service = Service(
        generator=generator,
        raw=raw,
        name=str(model_info.get("name") or generator.name),
        passages=passages,
        lineage=lineage,
        model_info=model_info,
        examples=tuple(examples),
        feedback=None if feedback_path is None else Feedback(feedback_path),
        ready=ready,
    )
    for method, path, endpoint, permission in ROUTES:
        _add(app, method, path, endpoint, permission)
    check_permissions(app)
    app.add_exception_handler(WireError, _on_error)
    app.add_exception_handler(OwnlmError, _on_error)
    app.add_exception_handler(Exception, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(Gate, allowed_hosts=allowed_hosts)
    return app


def _add(app: FastAPI, method: str, path: str, endpoint: Endpoint, permission: Permission) -> None:
    app.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=None,
        openapi_extra={PERMISSION: permission},
    )


async def _on_error(http: HttpRequest, error: Exception) -> Response:
    wire = from_exception(error, http.state.request_id)
    if wire.status == 500 and wire is not error:  # a WireError was logged where it was made
        log.error("request %s failed", http.state.request_id, exc_info=error)
    return _respond(http, wire)


async def _on_validation(http: HttpRequest, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    return _respond(http, from_validation(problems, UNSUPPORTED))


async def _on_http(http: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    texts = {
        400: "The body could not be read as JSON.",
        404: "There is no such route.",
        405: "This route does not take that method.",
        413: "The body is too large.",
    }
    headers = getattr(error, "headers", None)
    return _respond(http, WireError(status, texts.get(status, "The request was refused."), headers=headers))


def _respond(http: HttpRequest, wire: WireError) -> Response:
    http.app.state.service.metrics.refuse(wire.code)
    return JSONResponse(wire.body(), status_code=wire.status, headers=wire.headers)


def _version() -> str:
    try:
        return version("ownlm")
    except PackageNotFoundError:
        return "0"
