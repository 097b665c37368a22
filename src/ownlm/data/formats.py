"""Which files are text, decided by name: the stated lists of suffixes and of names without one.

Anything that is not listed here is dropped by the reader with the reason "unknown suffix", never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "markdown", "rst", "html", "code", "jsonl"]

PROSE: dict[str, Kind] = {
    ".txt": "text", ".text": "text", ".tex": "text", ".org": "text", ".adoc": "text", ".asciidoc": "text",
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".mdx": "markdown", ".qmd": "markdown",
    ".rst": "rst", ".rest": "rst",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip

CODE: dict[str, str] = {
    ".py": "python", ".pyi": "python", ".pyx": "cython", ".pxd": "cython",
    ".c": "c", ".h": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".hh": "c++", ".hpp": "c++", ".cu": "cuda",
    ".rs": "rust", ".go": "go", ".java": "java", ".kt": "kotlin", ".kts": "kotlin", ".scala": "scala",
    ".swift": "swift", ".m": "objective-c", ".mm": "objective-c", ".cs": "c#", ".fs": "f#", ".vb": "basic",
    ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".tsx": "typescript", ".vue": "vue", ".svelte": "svelte",
    ".rb": "ruby", ".php": "php", ".pl": "perl", ".pm": "perl", ".lua": "lua", ".r": "r", ".jl": "julia",
    ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".fish": "shell", ".ps1": "powershell",
    ".sql": "sql", ".hs": "haskell", ".ml": "ocaml", ".mli": "ocaml", ".ex": "elixir", ".exs": "elixir",
    ".erl": "erlang", ".clj": "clojure", ".lisp": "lisp", ".el": "lisp", ".scm": "scheme", ".zig": "zig",
    ".nim": "nim", ".d": "d", ".dart": "dart", ".f90": "fortran", ".f": "fortran", ".asm": "assembly",
    ".proto": "protobuf", ".cmake": "cmake", ".nix": "nix", ".tf": "terraform", ".v": "verilog",
}  # fmt: skip

NAMES: dict[str, Kind] = {
    name: "text"
    for name in (
        "readme",
        "changelog",
        "changes",
        "news",
        "history",
        "install",
        "hacking",
        "todo",
        "contributing",
    )
}  # files without a suffix; compared in lower case

COMPRESSIONS = {".gz": "gz", ".zst": "zst"}

# Folders that hold no text of the user's: version control, caches, environments, installed packages.
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "__MACOSX"})


@dataclass(frozen=True, slots=True)
class Format:
    kind: Kind
    language: str = ""  # programming language, for kind "code"
    compression: str = ""  # "gz", "zst" or ""


def split_suffix(name: str) -> tuple[str, str]:
    """`("notes", ".txt")` for notes.txt; a leading dot begins no suffix."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix.lower()) if stem.strip(".") else (name, "")


def format_of(name: str) -> Format | None:
    """The format of a file of that name; None when the name is not on the lists."""
    stem, suffix = split_suffix(name)
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        stem, suffix = split_suffix(stem)
    if suffix in PROSE:
        return Format(PROSE[suffix], "", compression)
    if suffix in CODE:
        return Format("code", CODE[suffix], compression)
    if not suffix and stem.lower() in NAMES:
        return Format(NAMES[stem.lower()], "", compression)
    return None


def stem_of(source: str) -> str:
    """The path without its known suffixes: `guide/intro` for guide/intro.md and for guide/intro.html.gz."""
    folder, slash, name = source.rpartition("/")
    stem, suffix = split_suffix(name)
    while suffix in PROSE or suffix in CODE or suffix in COMPRESSIONS:
        name = stem
        stem, suffix = split_suffix(name)
    return folder + slash + name
