"""The live page: a server for this machine alone, from the standard library. It reads run folders, and changes nothing.

GET /            the page             GET /data.json?since=TOKEN    {"token", "moments", "runs" when changed}
GET /page.css, /theme.js, /chart.js, /page.js
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ownlm.errors import MachineError, OwnlmError
from ownlm.train.page import payload
from ownlm.train.runs import Run

ASSETS = {
    "page.css": "text/css", "theme.js": "text/javascript", "chart.js": "text/javascript", "page.js": "text/javascript",
}  # fmt: skip
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")  # fmt: skip


def asset(name: str) -> str:
    return (resources.files("ownlm.train.page") / name).read_text(encoding="utf-8")


class Watched:
    """The runs of a page, read again at each question; a token names what the page has seen."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self._lock = threading.Lock()
        self._token, self._rows = "", list[dict[str, Any]]()

    def answer(self, since: str) -> dict[str, Any]:
        with self._lock:
            problem = ""
            for run in self.runs:
                try:
                    run.refresh()
                except (OwnlmError, OSError) as error:  # a run that was removed stays as it was last seen
                    problem = f"{run.folder}: {error}"
            token = "-".join(str(run.version) for run in self.runs)
            if token != self._token:
                self._rows, self._token = [payload.of(run) for run in self.runs], token
            answer: dict[str, Any] = {"token": token, "moments": [payload.moment(run) for run in self.runs]}
            if problem:
                answer["problem"] = problem
            return answer if since == token else answer | {"runs": self._rows}


def serve(runs: list[Run], port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, bound and not yet running; port 0: any free one.

    Raises MachineError when the port is taken.
    """
    watched = Watched(runs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version, server_version, sys_version = "HTTP/1.1", "ownlm", ""

        def do_GET(self) -> None:
            # A page elsewhere may point its own name at this machine; it may not read from here.
            if self.headers.get("Host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
                self._send(403, "text/plain", "only for this machine")
                return
            where = urlsplit(self.path)
            name = where.path.lstrip("/")
            if name == "":
                self._send(200, "text/html", asset("page.html"))
            elif name in ASSETS:
                self._send(200, ASSETS[name], asset(name))
            elif name == "data.json":
                since = parse_qs(where.query).get("since", [""])[0]
                self._send(200, "application/json", json.dumps(watched.answer(since), allow_nan=False))
            else:
                self._send(404, "text/plain", "there is nothing here")

        def _send(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            for header, value in (
                ("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
            ):  # fmt: skip
                self.send_header(header, value)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the reader may have left
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Not a line for each question of the page."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise MachineError(
            f"Port {port} cannot be used.", str(error), "choose another with --port, or 0"
        ) from error
    server.daemon_threads = True
    return server
