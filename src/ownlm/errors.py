"""The exception tree. Every error has three parts: what happened, the values that caused it, what to do.

    OwnlmError                        exit code
    ├── UsageError                    2    an argument or a configuration key is wrong
    ├── DataError                     3    the text that was given cannot be used
    ├── ArtifactError                 4    a folder is not an artifact, is damaged, or belongs elsewhere
    │   └── DigestMismatch            4    a file differs from its manifest
    ├── MachineError                  5    disk, memory, port, permission, missing compiler
    ├── MissingDependency             6    an optional package is not installed
    └── RequestError                  1    a request that cannot be served (HTTP 400); carries `param`

A mistake of the user's is one of these and prints as one clean block without traceback.
Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations


class OwnlmError(Exception):
    """Base of all errors that are meant for the user."""

    exit_code = 1

    def __init__(self, what: str, values: str = "", fix: str = "") -> None:
        self.what, self.values, self.fix = what, values, fix
        super().__init__("\n".join(part for part in (what, values, fix) if part))


class UsageError(OwnlmError):
    exit_code = 2


class DataError(OwnlmError):
    exit_code = 3


class ArtifactError(OwnlmError):
    exit_code = 4


class DigestMismatch(ArtifactError):
    """A file's SHA-256 differs from the manifest's."""


class MachineError(OwnlmError):
    exit_code = 5


class MissingDependency(OwnlmError):
    exit_code = 6


class RequestError(OwnlmError):
    """A request that cannot be served as asked; `param` names the offending field."""

    def __init__(self, what: str, values: str = "", fix: str = "", param: str | None = None) -> None:
        super().__init__(what, values, fix)
        self.param = param


def to_row(error: OwnlmError) -> list[str]:
    """The error as JSON values, to cross between processes; `from_row` makes it again."""
    return [type(error).__name__, error.what, error.values, error.fix]


def from_row(row: list[str]) -> OwnlmError:
    kinds: dict[str, type[OwnlmError]] = {kind.__name__: kind for kind in (
        UsageError, DataError, ArtifactError, DigestMismatch, MachineError, MissingDependency, RequestError,
    )}  # fmt: skip
    return kinds.get(row[0], OwnlmError)(*row[1:])
