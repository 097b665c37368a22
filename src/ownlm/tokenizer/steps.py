"""One step of a tokenizer.json (a normalizer, a pre-tokenizer, a decoder): its kind by `type`, or a Sequence of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ownlm.tokenizer.fields import Fields

T = TypeVar("T")
MAX_DEPTH = 16
"""Of Sequences inside each other."""


def read_step(
    raw: Any,
    where: str,
    kinds: Mapping[str, Callable[[Fields], Callable[[T], T]]],
    inner: str,
    *,
    null_passes: bool = False,
    depth: int = 0,
) -> Callable[[T], T]:
    """The function that `raw` describes. inner: the field that holds a Sequence's steps; null_passes: whether null is
    a step that changes nothing. Raises ArtifactError naming the field for whatever is unknown, damaged or too deep."""
    if raw is None and null_passes:
        return lambda value: value
    fields = Fields([] if raw is None else raw, where)
    kind = fields.text("type")
    if kind != "Sequence" and kind not in kinds:
        raise fields.wrong("type", f"{kind[:60]!r} is not one of {', '.join((*kinds, 'Sequence'))}")
    if depth > MAX_DEPTH:
        raise fields.wrong("type", f"nested more than {MAX_DEPTH} deep")
    if kind != "Sequence":
        made = kinds[kind](fields)
        fields.done()
        return made
    steps = [
        read_step(row, f"{where}.{inner}[{n}]", kinds, inner, null_passes=null_passes, depth=depth + 1)
        for n, row in enumerate(fields.rows(inner))
    ]
    fields.done()

    def run(value: T) -> T:
        for step in steps:
            value = step(value)
        return value

    return run
