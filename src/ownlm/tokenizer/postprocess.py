"""The post-processors of tokenizer.json: which special tokens `encode(..., add_special_tokens=True)` puts around ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ownlm.tokenizer.fields import Fields

Ids = list[int]
Step = Callable[[Ids, Ids | None], Ids]  # ids of the text and of a second text (None: there is none)
_MAX_DEPTH = 16


def post_processor(raw: Any, ids: Mapping[str, int], where: str, depth: int = 0) -> Step:
    """ids: every token of the tokenizer -> id, to check what the processor names. Raises ArtifactError.

    Two texts are joined as the file says; without a processor, one after the other.
    """
    if raw is None:
        return lambda first, second: first + (second or [])
    fields = Fields(raw, where)
    kind = fields.text("type")
    if depth > _MAX_DEPTH:
        raise fields.wrong("type", f"nested more than {_MAX_DEPTH} deep")
    if kind == "TemplateProcessing":
        step = _template(fields, ids)
    elif kind == "BertProcessing":
        cls, sep = _pair(fields, "cls", ids), _pair(fields, "sep", ids)
        step = lambda first, second: [cls, *first, sep, *([*second, sep] if second is not None else [])]  # noqa: E731
    elif kind == "RobertaProcessing":
        cls, sep = _pair(fields, "cls", ids), _pair(fields, "sep", ids)
        fields.flag("trim_offsets", True)
        fields.flag("add_prefix_space", True)
        step = lambda first, second: [cls, *first, sep, *([sep, *second, sep] if second is not None else [])]  # noqa: E731
    elif kind == "ByteLevel":
        for name in ("add_prefix_space", "trim_offsets", "use_regex"):
            fields.flag(name, True)  # offsets only
        step = lambda first, second: first + (second or [])  # noqa: E731
    elif kind == "Sequence":
        step = _sequence(fields, ids, depth)
    else:
        known = "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence"
        raise fields.wrong("type", f"{kind[:60]!r} is not one of {known}")
    fields.done()
    return step


def _sequence(fields: Fields, ids: Mapping[str, int], depth: int) -> Step:
    rows = fields.rows("processors")
    for n, raw in enumerate(rows):
        Fields(raw, f"{fields.where}.processors[{n}]")  # null is a processor only at the top
    steps = [
        post_processor(raw, ids, f"{fields.where}.processors[{n}]", depth + 1) for n, raw in enumerate(rows)
    ]
    adding = [n for n, raw in enumerate(rows) if raw["type"] != "ByteLevel"]
    if len(adding) > 1:
        raise fields.wrong(f"processors[{adding[1]}]", "only one step of a sequence may add tokens")
    return steps[adding[0]] if adding else post_processor(None, ids, fields.where)


def _pair(fields: Fields, name: str, ids: Mapping[str, int]) -> int:
    value = fields.any(name)
    if not isinstance(value, list) or len(value) != 2 or type(value[1]) is not int:
        raise fields.wrong(name, f"{str(value)[:60]!r} is not a token and its id")
    if not isinstance(value[0], str) or ids.get(value[0]) != value[1]:
        raise fields.wrong(name, f"{str(value[0])[:40]!r} does not have the id {value[1]}")
    return int(value[1])


def _template(fields: Fields, ids: Mapping[str, int]) -> Step:
    specials: dict[str, Ids] = {}
    table = Fields(fields.any("special_tokens", {}), f"{fields.where}.special_tokens")
    known = set(ids.values())
    for name in table.raw:
        row = Fields(table.any(name), f"{table.where}.{name[:40]}")
        if row.text("id") != name:
            raise row.wrong("id", f"{row.raw['id'][:40]!r} is not {name[:40]!r}")
        specials[name] = row.rows("ids")
        if not specials[name] or not all(type(id) is int and id in known for id in specials[name]):
            raise row.wrong("ids", f"{str(specials[name])[:60]} are not ids of the vocabulary")
        tokens = row.rows("tokens", [])
        if len(tokens) not in (0, len(specials[name])):
            raise row.wrong("tokens", f"{len(tokens)} tokens for {len(specials[name])} ids")
        row.done()
    single = _pieces(fields, "single", specials, ["A"])
    pair = _pieces(fields, "pair", specials, ["A", "B"]) if "pair" in fields.raw else None

    def run(first: Ids, second: Ids | None) -> Ids:
        pieces = single if second is None or pair is None else pair
        done: Ids = []
        for piece in pieces:
            if isinstance(piece, str):
                done += first if piece == "A" else second or []
            else:
                done += piece
        return done

    return run


def _pieces(fields: Fields, name: str, specials: Mapping[str, Ids], sequences: list[str]) -> list[Ids | str]:
    pieces: list[Ids | str] = []
    for n, raw in enumerate(fields.rows(name)):
        row = Fields(raw, f"{fields.where}.{name}[{n}]")
        if "SpecialToken" in row.raw:
            part = Fields(row.any("SpecialToken"), row.where + ".SpecialToken")
            token = part.text("id")
            if token not in specials:
                raise part.wrong("id", f"{token[:40]!r} is not in special_tokens")
            pieces.append(specials[token])
        else:
            part = Fields(row.any("Sequence"), row.where + ".Sequence")
            pieces.append(part.choice("id", sequences))
        part.integer("type_id", 0, 1 << 31, 0)
        part.done()
        row.done()
    found = sorted(piece for piece in pieces if isinstance(piece, str))
    if found != sequences:
        raise fields.wrong(name, f"holds the sequences {found} instead of {sequences}")
    return pieces
