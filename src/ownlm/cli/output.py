"""How every command speaks: facts on stdout (text or one JSON object), progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

import ownlm
from ownlm.errors import OwnlmError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(facts: dict[str, Any]) -> None:
    """One object with stable keys; `version` is the version of ownlm that wrote it."""
    sys.stdout.write(json.dumps({"version": ownlm.__version__, **facts}, indent=2, ensure_ascii=False) + "\n")


def print_error(error: OwnlmError) -> None:
    """What happened, the values, what to do: one clean block, no traceback."""
    err.print(f"[bold red]error:[/] {_plain(error.what)}")
    for line in error.values.splitlines():
        err.print(f"  {_plain(line)}")
    if error.fix:
        err.print(f"[bold]fix:[/] {_plain(error.fix)}")


def notice(text: str) -> None:
    err.print(f"[yellow]note:[/] {_plain(text)}")


def _plain(text: str) -> str:
    """Text that rich must not read as markup, with control characters made visible."""
    visible = "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return visible.replace("[", r"\[")
