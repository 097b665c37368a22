"""The normalizers of tokenizer.json: text -> text before anything is cut.

Semantics are those of Hugging Face `tokenizers`, held against it over all code points. Unicode tables are those of the
running Python (3.11: Unicode 14; NFC and its kin differ from newer tables only for characters added since).
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import regex

from ownlm.tokenizer.charsmap import Charsmap
from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.newer_marks import BERT, STRIP_ACCENTS, characters
from ownlm.tokenizer.patterns import compiled_pattern
from ownlm.tokenizer.spelling import byte_letters
from ownlm.tokenizer.steps import read_step

Normalize = Callable[[str], str]
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""White_Space of Unicode; str.isspace has four more (\\x1c-\\x1f)."""
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip  # 2B920 instead of 2B820 is what `tokenizers` has


def normalizer(raw: dict[str, Any] | None, where: str) -> Normalize:
    """The function for one normalizer object; None changes nothing. Raises ArtifactError naming the field."""
    return read_step(raw, where, _KINDS, "normalizers", null_passes=True)


def lowercase(text: str) -> str:
    """Each character by itself: a final capital sigma becomes σ, not ς."""
    return text.replace("Σ", "σ").lower()


def _accents_removed(text: str, categories: tuple[str, ...], newer: str) -> str:
    """Without marks of the categories, except those newer than the tables of `tokenizers`."""
    if text.isascii():
        return text
    kept = characters(newer)
    return "".join([c for c in text if unicodedata.category(c) not in categories or c in kept])


def _form(name: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> Callable[[Fields], Normalize]:
    return lambda fields: lambda text: unicodedata.normalize(name, text)


def _strip(fields: Fields) -> Normalize:
    left, right = fields.flag("strip_left"), fields.flag("strip_right")

    def run(text: str) -> str:
        text = text.lstrip(WHITE) if left else text
        return text.rstrip(WHITE) if right else text

    return run


def _replace(fields: Fields) -> Normalize:
    pattern, content = fields.any("pattern"), fields.text("content")
    if not isinstance(pattern, dict) or len(pattern) != 1:
        raise fields.wrong("pattern", "not {String: ...} or {Regex: ...}")
    inner = Fields(pattern, f"{fields.where}.pattern")
    if "Regex" in pattern:
        compiled = compiled_pattern(inner.text("Regex"), fields.where)
        # In an empty text nothing is found, not even by "$": so it is in `tokenizers`.
        return lambda text: compiled.sub(lambda _: content, text) if text else text
    old = inner.text("String")
    inner.done()
    if not old:
        raise fields.wrong("pattern.String", "empty")
    return lambda text: text.replace(old, content)


def _prepend(fields: Fields) -> Normalize:
    prefix = fields.text("prepend")
    return lambda text: prefix + text if text else text


def _precompiled(fields: Fields) -> Normalize:
    encoded = fields.text("precompiled_charsmap")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.wrong("precompiled_charsmap", f"not base64 ({error})") from error
    charsmap = Charsmap(blob, f"{fields.where}: precompiled_charsmap")
    return charsmap.by_grapheme


@cache
def _nmt_table() -> dict[int, str | None]:
    gone = [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]
    spaces = [9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
    return dict.fromkeys(gone) | dict.fromkeys(spaces, " ")


def _bert(fields: Fields) -> Normalize:
    clean, chinese = fields.flag("clean_text", True), fields.flag("handle_chinese_chars", True)
    lower = fields.flag("lowercase", True)
    strip = fields.flag("strip_accents", None)
    strip = lower if strip is None else strip

    def run(text: str) -> str:
        if clean:
            text = _cleaned(text)
        if chinese and not text.isascii():
            text = _chinese_pattern().sub(lambda found: f" {found[0]} ", text)
        if strip:
            text = _accents_removed(unicodedata.normalize("NFD", text), ("Mn",), BERT)
        return lowercase(text) if lower else text

    return run


@cache
def _chinese_pattern() -> regex.Pattern[str]:
    return regex.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in _CHINESE) + "]")


_GONE = regex.compile(r"[\p{Cc}\p{Cf}\p{Co}\ufffd--[\t\n\r]]", regex.V1)
_TO_SPACE = regex.compile("[" + WHITE.replace("\v", "").replace("\f", "") + "]")


def _cleaned(text: str) -> str:
    """Control and private characters leave, white space becomes a space."""
    if text.isascii() and text.isprintable():
        return text  # nothing to clean
    cleaned: str = _TO_SPACE.sub(" ", _GONE.sub("", text))
    return cleaned


def _byte_level(fields: Fields) -> Normalize:
    letters = byte_letters()
    return lambda text: "".join([letters[byte] for byte in text.encode("utf-8")])


_KINDS: dict[str, Callable[[Fields], Normalize]] = {
    "NFC": _form("NFC"),
    "NFD": _form("NFD"),
    "NFKC": _form("NFKC"),
    "NFKD": _form("NFKD"),
    "Lowercase": lambda fields: lowercase,
    "StripAccents": lambda fields: lambda text: _accents_removed(text, ("Mn", "Mc", "Me"), STRIP_ACCENTS),
    "BertNormalizer": _bert,
    "Strip": _strip,
    "Replace": _replace,
    "Prepend": _prepend,
    "Precompiled": _precompiled,
    "Nmt": lambda fields: lambda text: text.translate(_nmt_table()),
    "ByteLevel": _byte_level,
}
