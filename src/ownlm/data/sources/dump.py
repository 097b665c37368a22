"""XML dumps as units: the pages of a MediaWiki export, the threads of a question-and-answer site."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ownlm.data.limits import Limits, Unusable
from ownlm.data.sources import threads, wikipedia
from ownlm.data.sources.source import Unit
from ownlm.records import Drop

_ROOT = re.compile(rb"<([A-Za-z_][\w.-]{0,40})")
_HEAD = 1 << 12


def units(
    file: io.BufferedReader, name: str, options: Mapping[str, Any], limits: Limits
) -> Iterator[Unit | Drop]:
    """By the root element, or as `format` states. Raises Unusable for other XML."""
    stated = options.get("format", "auto")
    root = _ROOT.search(file.peek(_HEAD)[:_HEAD])
    kind = {"mediawiki": "wikipedia", "posts": "qa"}.get(root.group(1).decode() if root else "", "")
    if stated in ("wikipedia", "qa") and kind != stated:
        raise Unusable(
            f"not a {stated} dump: its root element is {root.group(1).decode() if root else 'missing'}"
        )
    if kind == "wikipedia":
        yield from wikipedia.units(file, name, options)
    elif kind == "qa":
        yield from threads.units(file, name, options, limits)
    else:
        raise Unusable("XML that is neither a MediaWiki export nor a Q&A dump")
