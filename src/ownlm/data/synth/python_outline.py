"""Python source as sections: the module, each class, each function and method, by its qualified name."""

from __future__ import annotations

import ast
import warnings

import regex

from ownlm.data.formats import stem_of
from ownlm.data.synth.outline import LONGEST_TITLE, Section
from ownlm.records import Document

_LINE = regex.compile(r"\r\n|\r|\n")
_TOP_FOLDERS = ("src", "lib", "Lib", "python", "source")
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_name(document: Document) -> str:
    """`json.decoder` for json/decoder.py, `requests.api` for src/requests/api.py."""
    stated = document.meta.get("module")
    if isinstance(stated, str) and stated:
        return stated
    parts = [part for part in stem_of(document.source).split("/") if part]
    while len(parts) > 1 and parts[0] in _TOP_FOLDERS:
        parts = parts[1:]
    for folder in _TOP_FOLDERS:  # project-1.2/src/package/module.py
        if folder in parts[:-1]:
            parts = parts[parts.index(folder) + 1 :]
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def outline(document: Document) -> list[Section] | None:
    """None when the text does not parse as Python of this version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in somebody's strings are not our news
            tree = ast.parse(document.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    starts = [0, *(match.end() for match in _LINE.finditer(document.text)), len(document.text)]
    writer = _Writer(document.text, starts)
    writer.block(tree.body, module_name(document), "", 0, len(document.text), tree)
    return writer.found


class _Writer:
    """Cuts a tree into sections that touch each other; `at` is the end of the last one."""

    def __init__(self, text: str, starts: list[int]) -> None:
        self.text, self.starts, self.found = text, starts, list[Section]()

    def line(self, number: int) -> int:
        """Offset of the first character of a line, counted from 1."""
        return self.starts[min(number - 1, len(self.starts) - 1)]

    def block(
        self, body: list[ast.stmt], qualified: str, parent: str, start: int, end: int, owner: ast.AST
    ) -> None:
        """Sections of a module or class that spans text[start:end]: itself, then what is defined in it."""
        definitions = [node for node in body if isinstance(node, _Definition)]
        kind = "module" if isinstance(owner, ast.Module) else "class"
        first = self._begin(definitions[0]) if definitions else end
        head = min(self._after_docstring(body, first), first)
        self._add(kind, qualified, parent, start, head, first)
        for number, node in enumerate(definitions):
            left = self._begin(node)
            right = self.line((node.end_lineno or node.lineno) + 1)
            name = f"{qualified}.{node.name}" if qualified else node.name
            if isinstance(node, ast.ClassDef):
                self.block(node.body, name, qualified, left, right, node)
            else:
                head = min(self._after_docstring(node.body, right), right)
                self._add("function", name, qualified, left, head, right)
            following = self._begin(definitions[number + 1]) if number + 1 < len(definitions) else end
            if self.text[right:following].strip():
                self._add("code", qualified, parent, right, right, following, opens=False)

    def _add(
        self, kind: str, title: str, parent: str, start: int, head: int, end: int, opens: bool = True
    ) -> None:
        if not self.text[start:end].strip():
            return
        name = title.rpartition(".")[2] or title
        while len(title) > LONGEST_TITLE and "." in title:
            title = title.partition(".")[2]
        self.found.append(
            Section(kind, title[:LONGEST_TITLE], name, parent, start, max(head, start), end, opens)
        )  # type: ignore[arg-type]

    def _begin(self, node: _Definition) -> int:
        """The first line of a definition, its decorators and the comment right above it included."""
        number = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        while number > 1 and self.text[self.line(number - 1) : self.line(number)].lstrip().startswith("#"):
            number -= 1
        return self.line(number)

    def _after_docstring(self, body: list[ast.stmt], otherwise: int) -> int:
        """The line after the docstring; `otherwise` when there is none."""
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return self.line((body[0].end_lineno or body[0].lineno) + 1)
        return otherwise
