"""XML as a stream of events without anything that reaches out or unfolds: no DTD, no entities of one's own.

Expat with every declaration refused: entity bombs, external entities and parameter entities end in Unusable before
anything is unfolded. Depth and attribute sizes are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO
from xml.parsers import expat

from ownlm.data.limits import Unusable

# ("start", name, attributes), ("end", name, {}), ("text", text, {}); ("", "", {}) is a comment, to be passed over
Event = tuple[str, str, Mapping[str, str]]
MOST_DEPTH = 512
_BLOCK = 1 << 16
_MOST_SILENT = 64 << 20  # bytes of one token (a tag with its attributes)
_NONE: Mapping[str, str] = {}
_OTHER: Event = ("", "", _NONE)


def events(file: IO[bytes]) -> Iterator[Event]:
    """Names without namespace: the part after the last colon. Raises Unusable for a DTD and for bad XML."""
    pending: list[Event] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise Unusable(f"XML nested too deep: more than {MOST_DEPTH}")
        pending.append(("start", name.rpartition(":")[2], attributes))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        pending.append(("end", name.rpartition(":")[2], _NONE))

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = _BLOCK
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: pending.append(("text", text, _NONE))
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.CommentHandler = lambda _: pending.append(_OTHER)
    parser.ProcessingInstructionHandler = lambda *_: pending.append(_OTHER)
    silent = 0  # bytes since the last token that was complete
    while True:
        # Expat before 2.6 looks at an unfinished token again with every block, so blocks grow with it.
        block = file.read(max(_BLOCK, silent))
        try:
            parser.Parse(block, not block)
            silent = 0 if pending else silent + len(block)
            if silent > _MOST_SILENT:
                raise Unusable(f"XML tag of more than {_MOST_SILENT} bytes")
        except expat.ExpatError as error:
            yield from pending
            raise Unusable(f"bad XML: {error}"[:200]) from error
        yield from pending
        pending.clear()
        if not block:
            return


def _refuse(*_: object) -> int:
    raise Unusable("XML with a DTD or entities of its own is refused")


def text_of(name: str, attributes: Mapping[str, str]) -> str:
    """An attribute by its name without namespace, or ""."""
    for key, value in attributes.items():
        if key.rpartition(":")[2] == name:
            return value
    return ""
