"""Source code other than Python: top-level blocks, titled by what each one defines, else by its line.

Language-blind: a block begins at an unindented line after a blank one and takes the comment above it along.
"""

from __future__ import annotations

from itertools import pairwise

import regex

from ownlm.data.synth.outline import Section, shortened
from ownlm.records import Document

_DEFINES = regex.compile(
    r"^[ \t]*(?:(?:export|default|pub(?:\([^)]*\))?|public|private|protected|internal|static|abstract|final|async|unsafe|"
    r"inline|extern|virtual|override|const|local|open|data|sealed)\s+)*"
    r"(?P<what>def|class|fn|func|function|fun|interface|trait|struct|enum|impl|type|module|mod|namespace|macro_rules!|"
    r"object|record|protocol|extension|sub|defmodule|defp?|CREATE\s+(?:TABLE|VIEW|FUNCTION|INDEX))"
    r"\s+(?:\([^)]*\)\s*)?(?:<[^>\n]*>\s*)?(?P<name>[\w$.:]+)",
    regex.M | regex.I,
)
_C_FUNCTION = regex.compile(r"^(?!return\b|else\b|if\b|for\b|while\b|switch\b)[A-Za-z_][\w\s*&<>:,]*?[\s*&](?P<name>\w+)\s*\([^;{}]*\)\s*(?:const\s*)?\{", regex.M)  # fmt: skip
_ASSIGNED = regex.compile(r"^\s*(?:export\s+)?(?:const|let|var|val)\s+(?P<name>[\w$]+)\s*[:=]", regex.M)
_BLOCK = regex.compile(r"\n[ \t]*\n(?=\S)")
_CLOSER = regex.compile(r"^[)\]}]")
_COMMENT = regex.compile(r"^\s*(?://|/\*|\*|#|--|;|\"\"\"|\(\*)")
_LEAST = 40  # characters; smaller blocks without a name join the one before


def outline(document: Document) -> list[Section]:
    text, path = document.text, document.source
    file = shortened(path.rpartition("/")[2])
    cuts = [
        0,
        *(match.end() for match in _BLOCK.finditer(text) if not _CLOSER.match(text[match.end() :][:1])),
        len(text),
    ]
    found: list[Section] = []
    for start, end in pairwise(cuts):
        block = text[start:end]
        if not block.strip():
            continue
        name = _name(block)
        if found and not name and (len(block.strip()) < _LEAST or not found[-1].opens):
            before = found.pop()
            if before.opens and before.name != file and len(block.strip()) >= _LEAST:
                found += [before, _section(file, "", path, text, start, end)]
            else:
                found.append(Section(before.kind, before.title, before.name, before.parent, before.start, before.head, end, before.opens))  # fmt: skip
            continue
        found.append(_section(file, name, path, text, start, end))
    return found


def _section(file: str, name: str, path: str, text: str, start: int, end: int) -> Section:
    """A named block is titled `file: name`; one without a name by the line where it begins."""
    if name:
        return Section("function", shortened(f"{file} › {name}"), name, file, start, end, end)
    if start == 0:
        return Section("code", file, file, "", start, end, end)
    line = text.count("\n", 0, start) + 1
    return Section("code", shortened(f"{file} › line {line}"), file, "", start, end, end, opens=False)


def _name(block: str) -> str:
    """What the block defines: the first definition at its own level, below its comments."""
    for pattern in (_DEFINES, _C_FUNCTION, _ASSIGNED):
        for match in pattern.finditer(block):
            line = block[block.rfind("\n", 0, match.start("name")) + 1 :]
            if not line[:1].isspace() and not _COMMENT.match(line):
                return str(match["name"]).strip(":.")
    return ""
