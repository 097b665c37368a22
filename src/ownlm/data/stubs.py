"""Modules without source (C extensions and built-ins) as Python stub text: signatures and docstrings.

Only modules of the standard library are imported, from a fixed list of names known to be silent: importing one of
them opens no window, no connection and no file of the user's.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import keyword
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# Public modules of CPython that are (or may be) written in C. Those that this build lacks, or that have source, are
# skipped. Left out on purpose: private modules, and anything that acts on import.
_CANDIDATES = (
    "array", "atexit", "audioop", "binascii", "builtins", "cmath", "errno", "faulthandler", "fcntl", "gc", "grp",
    "itertools", "marshal", "math", "mmap", "msvcrt", "nis", "ossaudiodev", "posix", "pwd", "pyexpat", "readline",
    "resource", "select", "spwd", "sys", "syslog", "termios", "time", "unicodedata", "winreg", "winsound", "zlib",
)  # fmt: skip
# C halves of modules whose Python half does not document them: shown under the public name (`functools.pyi`).
_HALVES = {
    "_bz2": "bz2", "_codecs": "codecs", "_collections": "collections", "_contextvars": "contextvars", "_csv": "csv",
    "_ctypes": "ctypes", "_curses": "curses", "_functools": "functools", "_hashlib": "hashlib", "_io": "io",
    "_locale": "locale", "_lzma": "lzma", "_queue": "queue", "_random": "random", "_signal": "signal",
    "_socket": "socket", "_sqlite3": "sqlite3", "_ssl": "ssl", "_struct": "struct", "_thread": "_thread",
    "_tracemalloc": "tracemalloc", "_uuid": "uuid", "_weakref": "weakref",
}  # fmt: skip
_SIGNATURE_LINE = re.compile(r"^\s*[\w.]+\(([^()\n]*)\)(\s*(?:->\s*[\w. ]*)?\s*)$")  # nothing but a signature
_SIGNATURE_HEAD = re.compile(r"^\s*[\w.]+\(([^()\n]*)\)")


def compiled_modules() -> Iterator[tuple[str, str]]:
    """(name, stub text) of each C module of this Python, sorted by name; modules without docstrings are skipped."""
    shown: set[str] = set()  # what `builtins` or a whole module documents is not repeated by a half
    for name in sorted((*_CANDIDATES, *_HALVES), key=lambda name: _HALVES.get(name, name)):
        if name not in sys.stdlib_module_names:
            continue
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # not in this build
        if getattr(module, "__file__", None) and str(module.__file__).endswith(".py"):
            continue
        public_name = _HALVES.get(name, name)
        text = render(module, public_name, shown)
        if text.count('"""') > 2:
            yield public_name, text


def render(module: ModuleType, public_name: str, shown: set[str]) -> str:
    """The stub of one module. Functions first, then classes; names in alphabetical order."""
    functions: list[str] = []
    classes: list[str] = []
    constants: list[str] = []
    own = (module.__name__, "_" + public_name, public_name)  # `_io` calls itself io and its classes _io
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or keyword.iskeyword(name):
            continue
        owner = getattr(value, "__module__", None)
        if inspect.isclass(value):
            key = f"{value.__module__}.{value.__qualname__}"
            if owner in own and key not in shown:
                shown.add(key)
                classes.append(_class(name, value))
        elif callable(value) and (owner is None or owner in own):
            functions.append(_function(name, value, ""))
        elif isinstance(value, (int, float, bool)) and not isinstance(value, type):
            constants.append(f"{name}: {type(value).__name__}")
    head = [_docstring(f"{inspect.getdoc(module) or public_name + ' module.'}", "")]
    parts = head + (["\n".join(constants)] if constants else []) + functions + classes
    return "\n\n".join(parts) + "\n"


def _docstring(text: str, indent: str) -> str:
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').strip()
    if text.endswith('"'):
        text = text[:-1] + '\\"'
    lines = [indent + line if line.strip() else "" for line in text.split("\n")]
    return (
        f'{indent}"""{lines[0].strip()}'
        + "".join("\n" + line for line in lines[1:])
        + (f'\n{indent}"""' if len(lines) > 1 else '"""')
    )


def _signature(value: Any, doc: str, method: bool) -> tuple[str, str]:
    """The signature, from the object or from the first line of its docstring; and the docstring without that line."""
    try:
        return re.sub(r"<([\w.]+)[^<>]*>", r"\1", str(inspect.signature(value))), doc
    except (ValueError, TypeError, AttributeError, NameError):  # inspect evaluates defaults of C signatures
        pass
    first, _, rest = doc.partition("\n")
    head = _SIGNATURE_HEAD.match(first)
    arguments = _plain_arguments(head.group(1)) if head else None
    if arguments is None:
        arguments = "*args, **kwargs"
    if method and not arguments.startswith("self"):
        arguments = f"self, {arguments}" if arguments else "self"
    only = _SIGNATURE_LINE.match(first)
    return f"({arguments})", rest.strip() if only and rest.strip() else doc


def _plain_arguments(text: str) -> str | None:
    """`x[, y]` as `x, y=None`; None when it is not that simple."""
    required, _, optional = text.partition("[")
    names = [part.strip() for part in required.split(",") if part.strip()]
    extra = [part.strip() for part in optional.replace("]", "").replace("[", "").split(",") if part.strip()]
    extra = [part if "=" in part else f"{part}=None" for part in extra]
    plain = [part for part in names + extra if part != "..."]
    arguments = ", ".join(plain)
    try:
        ast.parse(f"def _({arguments}): pass")
    except (SyntaxError, ValueError):
        return None
    return arguments


def _function(name: str, value: Any, indent: str) -> str:
    signature, doc = _signature(value, inspect.getdoc(value) or "", bool(indent))
    body = _docstring(doc, indent + "    ") if doc else indent + "    ..."
    return f"{indent}def {name}{signature}:\n{body}"


def _class(name: str, value: type) -> str:
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    doc = inspect.getdoc(value) if value.__doc__ else ""
    parts = [f"class {name}({bases}):" if bases else f"class {name}:"]
    parts.append(_docstring(doc, "    ") if doc else "    ...")
    for method, member in sorted(vars(value).items()):
        if method.startswith("_"):
            continue
        member_doc = inspect.getdoc(member) or ""
        if (
            inspect.isgetsetdescriptor(member)
            or inspect.ismemberdescriptor(member)
            or isinstance(member, property)
        ):
            if member_doc:
                parts.append(f"    @property\n    def {method}(self):\n{_docstring(member_doc, '        ')}")
        elif member_doc and (isinstance(member, (classmethod, staticmethod)) or callable(member)):
            parts.append(_function(method, member, "    "))
    return "\n\n".join([parts[0] + "\n" + parts[1], *parts[2:]])
