"""The decoders of tokenizer.json: spelled tokens -> pieces of text, joined at the end.

Each type is read strictly and becomes a function on the list of tokens, with the semantics of Hugging Face
`tokenizers`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from ownlm.tokenizer.fields import Fields
from ownlm.tokenizer.patterns import compiled_pattern
from ownlm.tokenizer.pretokenizers import find_matches
from ownlm.tokenizer.spelling import unspell
from ownlm.tokenizer.steps import read_step

Step = Callable[[list[str]], list[str]]
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def decoder(raw: Any, where: str) -> Callable[[list[str]], str]:
    """Tokens -> text; without a decoder the tokens are joined by spaces. Raises ArtifactError naming the field."""
    if raw is None:
        return " ".join
    step = read_step(raw, where, _KINDS, "decoders")
    return lambda tokens: "".join(step(tokens))


def _byte_level(fields: Fields) -> Step:
    for name in ("add_prefix_space", "trim_offsets", "use_regex"):
        fields.flag(name, True)  # of the pre-tokenizer of the same name; they decide nothing here

    def run(tokens: list[str]) -> list[str]:
        parts = [token.encode("utf-8") if (known := unspell(token)) is None else known for token in tokens]
        return [b"".join(parts).decode("utf-8", errors="replace")]

    return run


_CLEANUP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def _cleaned(text: str) -> str:
    for old, new in _CLEANUP:
        text = text.replace(old, new)
    return text


def _wordpiece(fields: Fields) -> Step:
    prefix, cleanup = fields.text("prefix", "##"), fields.flag("cleanup", True)

    def run(tokens: list[str]) -> list[str]:
        done = []
        for n, token in enumerate(tokens):
            if n:
                token = token.removeprefix(prefix) if token.startswith(prefix) else " " + token
            done.append(_cleaned(token) if cleanup else token)
        return done

    return run


def _metaspace(fields: Fields) -> Step:
    mark = fields.letter("replacement")
    scheme = fields.any("prepend_scheme")
    old = fields.any("add_prefix_space")
    if old not in (None, True, False) or (old is False and scheme not in (None, "never")):
        raise fields.wrong("add_prefix_space", f"{old!r} does not go with prepend_scheme = {scheme!r}")
    if scheme is None:
        scheme = "never" if old is False else "always"
    if scheme not in ("first", "always", "never"):
        raise fields.wrong("prepend_scheme", f"{str(scheme)[:60]!r} is not one of first, always, never")
    if fields.any("str_rep") not in (None, mark):
        raise fields.wrong("str_rep", f"differs from replacement = {mark!r}")
    fields.flag("split", True)

    def run(tokens: list[str]) -> list[str]:
        return [
            token.replace(mark, "" if n == 0 and scheme != "never" else " ") for n, token in enumerate(tokens)
        ]

    return run


def _byte_fallback(fields: Fields) -> Step:
    def text(values: list[int]) -> list[str]:
        try:
            return [bytes(values).decode("utf-8")]
        except UnicodeDecodeError:
            return ["\ufffd"] * len(values)

    def run(tokens: list[str]) -> list[str]:
        done: list[str] = []
        pending: list[int] = []
        for token in tokens:
            found = _BYTE_TOKEN.fullmatch(token)
            if found:
                pending.append(int(found[1], 16))
                continue
            if pending:
                done += text(pending)
                pending = []
            done.append(token)
        return done + text(pending) if pending else done

    return run


def _fuse(fields: Fields) -> Step:
    return lambda tokens: ["".join(tokens)]


def _strip(fields: Fields) -> Step:
    letter = fields.letter("content")
    start, stop = fields.integer("start", 0, 1 << 31), fields.integer("stop", 0, 1 << 31)

    def one(token: str) -> str:
        left = min(len(token) - len(token.lstrip(letter)), start)
        right = min(len(token) - len(token.rstrip(letter)), stop)
        return token[left : max(left, len(token) - right)]

    return lambda tokens: [one(token) for token in tokens]


def _replace(fields: Fields) -> Step:
    pattern = Fields(fields.any("pattern"), f"{fields.where}.pattern")
    content = fields.text("content")
    if "String" in pattern.raw:
        old = pattern.text("String")
        pattern.done()
        return lambda tokens: [token.replace(old, content) if old else token for token in tokens]
    compiled = compiled_pattern(pattern.text("Regex"), pattern.where + ".Regex")
    pattern.done()

    def one(token: str) -> str:
        if not token:
            return token  # even where the pattern matches nothing, as "$" does: `tokenizers` looks for no match in ""
        matches = find_matches(compiled, token, pattern.where)
        return "".join(content if is_match else token[a:b] for a, b, is_match in matches)

    return lambda tokens: [one(token) for token in tokens]


def _bpe(fields: Fields) -> Step:
    suffix = fields.text("suffix", "</w>")
    if not suffix:
        raise fields.wrong("suffix", "empty")

    def run(tokens: list[str]) -> list[str]:
        last = len(tokens) - 1
        return [token.replace(suffix, "" if n == last else " ") for n, token in enumerate(tokens)]

    return run


def _ctc(fields: Fields) -> Step:
    pad = fields.text("pad_token", "<pad>")
    delimiter = fields.text("word_delimiter_token", "|")
    cleanup = fields.flag("cleanup", True)
    if not pad or not delimiter:
        raise fields.wrong("pad_token" if not pad else "word_delimiter_token", "empty")

    def run(tokens: list[str]) -> list[str]:
        done = []
        for token, _ in itertools.groupby(tokens):
            token = token.replace(pad, "")
            done.append(_cleaned(token).replace(delimiter, " ") if cleanup else token)
        return [token for token in done if token]

    return run


_KINDS: dict[str, Callable[[Fields], Step]] = {
    "ByteLevel": _byte_level,
    "WordPiece": _wordpiece,
    "Metaspace": _metaspace,
    "ByteFallback": _byte_fallback,
    "Fuse": _fuse,
    "Strip": _strip,
    "Replace": _replace,
    "BPEDecoder": _bpe,
    "CTC": _ctc,
}
