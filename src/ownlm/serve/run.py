"""Run the application on an address until SIGTERM or SIGINT, and let open answers end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ownlm.errors import MachineError
from ownlm.serve.admission import LOOPBACK_HOSTS

DRAIN_SECONDS = 10
MAX_HEADER_BYTES = 32 * 1024


def hosts_for(host: str) -> Collection[str] | None:
    """The names that Host headers may carry when listening on `host`; None: any (all interfaces)."""
    if host in ("0.0.0.0", "::", ""):
        return None
    bare = host.strip("[]").lower()
    name = f"[{bare}]" if ":" in bare else bare
    return LOOPBACK_HOSTS if name in LOOPBACK_HOSTS else LOOPBACK_HOSTS | {name}


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[str], None] | None = None,
    drain_seconds: int = DRAIN_SECONDS,
) -> None:
    """Block until a signal; then refuse new requests, wait up to `drain_seconds` for open ones, return.

    port 0 takes a free one; `ready` is called with the address once connections are accepted.
    A second signal stops at once. Raises MachineError when the address cannot be listened on.
    """
    sock = listen(host, port)
    bound = sock.getsockname()[1]
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,  # X-Forwarded-* from strangers means nothing
        http="h11",
        ws="none",
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=drain_seconds + 2,
    )
    server = _Server(config, app, drain_seconds, ready, f"http://{_shown(host)}:{bound}")
    try:
        server.run(sockets=[sock])
    finally:
        sock.close()


class _Server(uvicorn.Server):
    """uvicorn's, with three differences: it announces itself, drains, and returns instead of re-raising."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        drain_seconds: int,
        ready: Callable[[str], None] | None,
        address: str,
    ) -> None:
        super().__init__(config)
        self._app, self._drain_seconds, self._ready, self._address = app, drain_seconds, ready, address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._ready is not None and self.started:
            self._ready(self._address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._app.state.service.drain(self._drain_seconds)


def check_port(host: str, port: int) -> None:
    """Raises MachineError when the address cannot be listened on: to ask before the model is loaded."""
    listen(host, port).close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises MachineError naming the program that has the port, where it can be seen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off on each connection. Without, every
    # answer waits 40 ms for the client's delayed acknowledgement between its head and its body.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), port))
        sock.listen(512)
    except (OSError, OverflowError) as error:
        sock.close()
        raise _cannot_listen(host, port, error) from error
    sock.set_inheritable(True)
    return sock


def _cannot_listen(host: str, port: int, error: Exception) -> MachineError:
    number = getattr(error, "errno", None)
    where = f"{host}:{port}"
    if number == errno.EADDRINUSE:
        owner = _owner(port)
        fix = f"Take another one: ownlm serve ... --port {port + 1 if port < 65535 else 8000}"
        return MachineError(f"Port {port} is in use.", f"{where}, by {owner or 'another program'}", fix)
    if number == errno.EACCES:
        return MachineError(
            f"Port {port} needs a privilege that this user lacks.", where, "Take one above 1023: --port 8000"
        )
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return MachineError(
            "This machine does not have that address.", where, "Use --host 127.0.0.1, or 0.0.0.0 for all."
        )
    return MachineError("The address cannot be listened on.", f"{where}: {error}", "Check --host and --port.")


def _owner(port: int) -> str | None:
    """Who listens on `port`: "pid 123 (python)", found in /proc; None where it cannot be seen."""
    if not sys.platform.startswith("linux"):
        return None
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(os.readlink(handle) in inodes for handle in (process / "fd").iterdir()):
                    return f"pid {process.name} ({(process / 'comm').read_text().strip()})"
    return None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
