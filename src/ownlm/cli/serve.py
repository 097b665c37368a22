"""`ownlm serve`: the page and the OpenAI-compatible service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.output import err, notice

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A finished build.")]
Host = Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")]
Port = Annotated[int, typer.Option(help="Port of the page.", min=0, max=65535)]
ApiKey = Annotated[str | None, typer.Option(help="Ask every client for this key.", envvar="OWNLM_API_KEY")]


def serve(folder: Folder, host: Host = "127.0.0.1", port: Port = 8000, api_key: ApiKey = None) -> None:
    """Serve the page and the OpenAI-compatible API.

    Exit codes: 0 stopped, 4 not a finished build, 5 the port is in use.

    Example: ownlm serve out/quickstart --port 8080
    """
    run(folder, host, port, api_key)


def run(folder: Path, host: str, port: int, api_key: str | None) -> None:
    from ownlm.pipeline.assistant import open_assistant
    from ownlm.pipeline.service import application
    from ownlm.serve import run as server

    server.check_port(host, port)
    if api_key is None and server.hosts_for(host) is None:
        notice(
            "everybody who reaches this machine can ask: give --api-key to keep it to those who have the key"
        )
    with open_assistant(folder) as assistant:
        app = application(assistant, api_key=api_key, host=host)
        err.print(f"the page is at http://{host}:{port}  (Ctrl-C stops)", markup=False)
        server.serve(app, host, port)
