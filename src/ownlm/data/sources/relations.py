"""The relationships between the members of an Office Open XML file (ECMA-376 part 2, 9.3)."""

from __future__ import annotations

import io
import posixpath

from ownlm.data.sources.archive import Archive, relative
from ownlm.data.sources.xml_events import events


def targets(archive: Archive, member: str) -> dict[str, str]:
    """Relationship id -> member name; external targets are left out, never fetched."""
    folder, name = posixpath.split(member)
    listed = f"{folder}/_rels/{name}.rels"
    if listed not in archive.names:
        return {}
    found: dict[str, str] = {}
    for kind, tag, attributes in events(io.BytesIO(archive.read(listed))):
        if kind == "start" and tag == "Relationship" and attributes.get("TargetMode") != "External":
            found[attributes.get("Id", "")] = relative(member, attributes.get("Target", ""))
    return found
