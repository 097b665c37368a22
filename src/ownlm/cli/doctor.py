"""`ownlm doctor`: what this machine can do, what is missing, the exact fix."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ownlm.cli.output import out, print_json
from ownlm.runtime import hardware, native

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: Literal["ok", "note", "fail"]  # note: works, but slower or with less
    value: str
    fix: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    port: Annotated[int, typer.Option(help="The port that the page will use.", min=1, max=65535)] = 8000,
    folder: Annotated[Path, typer.Option(help="Where you will build.")] = Path("."),
) -> None:
    """Say what this machine can do, what is missing, and the exact fix.

    Exit codes: 0 everything needed is there, 1 something needed is missing.

    Example: ownlm doctor --port 8080
    """
    checks = list(examine(port, folder))
    failed = [check for check in checks if check.state == "fail"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "fail": "[red]FAIL[/]"}[check.state]
            out.print(f"{mark} {check.name:<18} {check.value}", markup=True)
            if check.fix:
                out.print(f"     {'':<18} fix: {check.fix}", markup=False)
        out.print("Ready: `ownlm quickstart`." if not failed else f"{len(failed)} problem(s) to fix first.")
    raise typer.Exit(1 if failed else 0)


def examine(port: int, folder: Path) -> Iterator[Check]:
    machine = hardware.facts()
    version = sys.version_info
    yield Check("Python", "ok" if version >= (3, 11) else "fail", machine.python,
                "" if version >= (3, 11) else "install Python 3.11 or 3.12")  # fmt: skip
    yield Check("system", "ok", f"{machine.system}, {machine.processor}")
    yield Check("cores", "ok" if machine.cores >= 2 else "note", str(machine.cores),
                "" if machine.cores >= 2 else "one core works, at half the speed")  # fmt: skip
    yield _sized("memory", machine.memory, 4 * GIB, "use a machine with at least 4 GiB")
    yield _disk(folder)
    yield Check("instruction sets", "ok" if machine.isa else "note", " ".join(machine.isa) or "baseline only",
                "" if machine.isa else "works; training is slower without AVX2 or NEON")  # fmt: skip
    yield _torch(machine)
    yield Check("GPU", "ok", ", ".join(machine.gpus) or "none (not needed)")
    yield Check("C++ compiler", "ok" if machine.compiler else "note", machine.compiler or "none",
                "" if machine.compiler else "apt-get install g++ (training runs without it, about a fifth slower)")  # fmt: skip
    compiled = native.kernels() is not None
    yield Check("native kernels", "ok" if compiled else "note", native.status(),
                "" if compiled else "install a C++ compiler and run `pip install .` again (the Python versions are used)")  # fmt: skip
    yield _fts5()
    yield _port(port)
    yield Check("browser", "ok" if machine.browser else "note", machine.browser or "none on this machine",
                "" if machine.browser else "open the page from another machine; tests: apt-get install chromium")  # fmt: skip


def _sized(name: str, found: int, needed: int, fix: str) -> Check:
    enough = found >= needed
    return Check(name, "ok" if enough else "fail", f"{found / GIB:.1f} GiB", "" if enough else fix)


def _disk(folder: Path) -> Check:
    existing = next((p for p in (folder.resolve(), *folder.resolve().parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    return _sized("free disk", free, GIB, f"free at least 1 GiB at {existing}, or build elsewhere with --out")


def _torch(machine: hardware.Hardware) -> Check:
    if machine.torch is None:
        return Check("torch", "fail", "not installed", 'pip install "torch==2.13.0"')
    major, minor = (int(part) for part in machine.torch.split(".")[:2])
    if not (2, 11) <= (major, minor) <= (2, 13):
        return Check("torch", "note", f"{machine.torch}: not tested", 'pip install "torch==2.13.0"')
    try:
        import torch

        from ownlm.train import peak, precision
    except (ImportError, OSError) as error:
        return Check(
            "torch", "fail", f"does not load: {error}", 'pip install --force-reinstall "torch==2.13.0"'
        )
    kind, _ = precision.resolve("auto", torch.device("cpu"))
    return Check("torch", "ok", f"{machine.torch}, {peak.matmul_peak(kind) / 1e9:.0f} GFLOP/s in {kind}")


def _fts5() -> Check:
    with sqlite3.connect(":memory:") as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
        except sqlite3.OperationalError as error:
            return Check(
                "SQLite FTS5",
                "fail",
                f"{sqlite3.sqlite_version}: {error}",
                "use a Python with FTS5, e.g. Debian's",
            )
    return Check("SQLite FTS5", "ok", sqlite3.sqlite_version)


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Check(
                f"port {port}", "note", error.strerror or str(error), "serve with --port and another number"
            )
    return Check(f"port {port}", "ok", "free")
