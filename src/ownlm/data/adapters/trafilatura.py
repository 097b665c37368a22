"""The extractor of the trafilatura package (Barbaresi 2021), for those who want that one."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ownlm.errors import MissingDependency


@cache
def library() -> Any:
    """The package; MissingDependency where it is not installed."""
    try:
        return import_module("trafilatura")
    except ImportError as error:
        raise MissingDependency(
            "extracting with trafilatura needs a package that is not installed",
            f"engine=trafilatura: {error}",
            "pip install trafilatura, or use engine=ownlm",
        ) from error


def main_text(source: str, *, tables: bool, comments: bool) -> str:
    """Markdown; "" where it finds no main text."""
    text = library().extract(
        source,
        output_format="markdown",
        include_tables=tables,
        include_comments=comments,
        include_formatting=True,
    )
    return f"{text.strip()}\n" if text else ""
