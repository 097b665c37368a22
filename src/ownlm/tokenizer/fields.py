"""Reading a JSON object strictly: every field has a type, no key occurs twice, what is not asked for is refused by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import ArtifactError

FIX = "take the file from the folder it was written to, or build the tokenizer again"
MAX_FILE_BYTES = 256 << 20  # the largest public tokenizer.json is about 35 MB
_REQUIRED = object()


def wrong(where: str, field: str, values: str) -> ArtifactError:
    """The error for one field of a tokenizer file; `where` begins with the file's name."""
    return ArtifactError(
        "A tokenizer file is damaged or of a kind that is not supported.", f"{where}: {field}: {values}", FIX
    )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file with one object in which no key occurs twice at any depth. Raises ArtifactError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            names: set[str] = set()
            for key, _ in pairs:
                if key in names:
                    raise wrong(path.name, key[:60], "key given twice")
                names.add(key)
        return seen

    def constant(name: str) -> Any:
        raise wrong(path.name, "whole file", f"{name} is no JSON number")

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise wrong(path.name, "whole file", f"{path.stat().st_size} bytes, more than {MAX_FILE_BYTES}")
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except FileNotFoundError as error:
        raise ArtifactError(
            "This folder holds no tokenizer.",
            f"{path} is missing",
            "give the folder that `ownlm build` wrote",
        ) from error
    except OSError as error:
        raise ArtifactError("A tokenizer file cannot be read.", f"{path}: {error.strerror}", FIX) from error
    except (ValueError, RecursionError) as error:
        raise wrong(path.name, "whole file", f"not valid JSON ({str(error)[:200]})") from error
    if not isinstance(value, dict):
        raise wrong(path.name, "whole file", f"a {type(value).__name__}, not an object")
    if "\\u" in text and (place := _half_pair(value)):
        raise wrong(path.name, place, "half a surrogate pair")
    return value


def _half_pair(value: Any, depth: int = 4) -> str:
    """Where half a surrogate pair stands in a JSON value, as field names; empty when there is none."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return ""
    except UnicodeEncodeError:
        children = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, child in children if depth else ():
            if _half_pair(child, 0):
                inner = _half_pair(child, depth - 1).removeprefix("here")
                return f"{ascii(key)[:60]}.{inner}".rstrip(".").replace("'", "")
        return "here"


class Fields:
    """One object being read: `take` each field, then `done`, which refuses what was not taken.

    Errors are ArtifactError naming `where` (file and path of the object) and the field.
    """

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise ArtifactError(
                "A tokenizer file is damaged or of a kind that is not supported.",
                f"{where}: {_shown(raw)} is not an object",
                FIX,
            )
        self.raw, self.where = raw, where
        self._taken: set[str] = set()

    def wrong(self, field: str, values: str) -> ArtifactError:
        return wrong(self.where, field, values)

    def any(self, field: str, default: Any = None) -> Any:
        self._taken.add(field)
        return self.raw.get(field, default)

    def _typed(self, field: str, kind: type, name: str, default: Any) -> Any:
        self._taken.add(field)
        value = self.raw.get(field, default)
        if value is _REQUIRED:
            raise self.wrong(field, f"missing; {name} is needed")
        if value is not default and type(value) is not kind:
            raise self.wrong(field, f"{_shown(value)} is not {name}")
        return value

    def text(self, field: str, default: Any = _REQUIRED) -> str:
        value: str = self._typed(field, str, "a string", default)
        if value is not default:
            require_unicode(value, self.where, field)
        return value

    def flag(self, field: str, default: Any = _REQUIRED) -> bool:
        value: bool = self._typed(field, bool, "true or false", default)
        return value

    def integer(self, field: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        value: int = self._typed(field, int, "a whole number", default)
        if not low <= value <= high:
            raise self.wrong(field, f"{value} is not within {low}..{high}")
        return value

    def rows(self, field: str, default: Any = _REQUIRED) -> list[Any]:
        value: list[Any] = self._typed(field, list, "a list", default)
        return value

    def choice(self, field: str, choices: Sequence[str], default: Any = _REQUIRED) -> str:
        value = self.text(field, default)
        if value not in choices:
            raise self.wrong(field, f"{value[:60]!r} is not one of {', '.join(choices)}")
        return value

    def letter(self, field: str, default: Any = _REQUIRED) -> str:
        value = self.text(field, default)
        if len(value) != 1:
            raise self.wrong(field, f"{value[:60]!r} is not one character")
        return value

    def done(self) -> None:
        unknown = [key for key in self.raw if key not in self._taken]
        if unknown:
            raise self.wrong(str(unknown[0])[:60], "this option is not known here, so it cannot be honoured")


def require_unicode(value: str, where: str, field: str) -> None:
    """Refuse half a surrogate pair, which no UTF-8 text holds."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise wrong(where, field, "half a surrogate pair") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
