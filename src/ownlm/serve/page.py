"""The page and its static files: read once from the package, served by name from an allow list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import Path
from fastapi import Request as HttpRequest
from starlette.responses import Response

from ownlm.serve.wire.errors import WireError

FOLDER = FilePath(__file__).parent / "ui"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    content_type: str
    etag: str


def assets() -> dict[str, Asset]:
    """Every file of ui/ of a known kind. No request ever opens a file."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in CONTENT_TYPES:
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[path.name] = Asset(body, CONTENT_TYPES[path.suffix], etag)
    return found


async def page(http: HttpRequest) -> Response:
    return _send(http, "index.html")


async def asset(http: HttpRequest, name: Annotated[str, Path(max_length=64)]) -> Response:
    return _send(http, name)


def _send(http: HttpRequest, name: str) -> Response:
    found: Asset | None = http.app.state.assets.get(name)
    if found is None:
        raise WireError(404, "There is no such file.", code="not_found")
    headers = {"content-type": found.content_type, "etag": found.etag, "cache-control": "no-cache"}
    if http.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers)
