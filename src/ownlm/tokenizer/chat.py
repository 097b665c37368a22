"""Messages and documents -> ids, through the one chat template of the model folder.

The template is Jinja in an immutable sandbox without loader, imports or attribute walks; its only globals are
raise_exception, strftime_now and the filter tojson, as in transformers. `{% generation %}` marks what is trained.

Text can never become a control token: before rendering, every character of a message or document that could begin
or end a special token's name is replaced by an unguessable stand-in; the rendered text is cut at the special tokens
that are then still there (so the template wrote them), and the stand-ins are put back in the pieces between,
which are encoded as ordinary text.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import regex

from ownlm.errors import ArtifactError, RequestError
from ownlm.records import Message, Passage
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import BOS, END, PAD

Messages = Sequence[Message | Mapping[str, Any]]
Documents = Sequence[Passage | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ChatIds:
    """ids[i] is trained on when trained[i]: assistant content and the token that ends it."""

    ids: list[int]
    trained: list[bool]


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: puts the two marks of this rendering around the block."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opening, closing = (
            jinja2.nodes.Output([jinja2.nodes.Name(name, "load")], lineno=line)
            for name in ("_trained_from", "_trained_to")
        )
        return [opening, jinja2.nodes.Scope(body, lineno=line), closing]


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, but what is unsafe fails at once instead of printing as nothing."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        raise jinja2.exceptions.SecurityError(f"access to {attribute!r} of {type(obj).__name__} is unsafe")


class _TemplateRefusal(Exception):
    """The template called raise_exception."""


def _raise_exception(message: str) -> None:
    raise _TemplateRefusal(str(message))


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Plain JSON, as transformers renders it (Jinja's own filter escapes for HTML)."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


@lru_cache(maxsize=8)
def _compile(source: str) -> jinja2.Template:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.globals.clear()
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=lambda form: datetime.now().strftime(form),
        range=jinja2.sandbox.safe_range, namespace=jinja2.utils.Namespace, dict=dict,
    )  # fmt: skip
    environment.filters["tojson"] = _tojson
    environment.filters.pop("attr", None)  # the classic way round a sandbox
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise ArtifactError(
            "The chat template does not parse.", f"chat_template.jinja: {error}", "restore the file"
        ) from error


def _run(source: str, variables: dict[str, Any], unhide: _Hidden) -> str:
    try:
        return _compile(source).render(variables)
    except _TemplateRefusal as error:
        raise RequestError(
            "The chat template refuses these messages.", unhide.restore(str(error)), "change them", "messages"
        ) from None
    except jinja2.TemplateError as error:
        raise ArtifactError(
            "The chat template failed.",
            f"chat_template.jinja: {unhide.restore(str(error))}",
            "restore the file",
        ) from None
    except Exception as error:  # whatever a foreign template provokes: type errors, recursion, overflow
        detail = f"chat_template.jinja: {type(error).__name__}: {unhide.restore(str(error))}"
        raise ArtifactError(
            "The chat template failed.", detail, "restore the file, or check the messages"
        ) from None


class _Hidden:
    """Stand-ins, new for each rendering, for the characters that begin or end a special token's name."""

    def __init__(self, names: Iterable[str]) -> None:
        nonce = secrets.token_hex(16)
        self._names = tuple(names)
        edges = sorted({name[0] for name in names} | {name[-1] for name in names})
        self._table = {ord(edge): f"\ue000{nonce}{n:x}\ue001" for n, edge in enumerate(edges)}
        self._edges = edges
        self._stand_in = regex.compile(f"\ue000{nonce}([0-9a-f]+)\ue001")
        self.start, self.end = f"\ue000{nonce}s\ue001", f"\ue000{nonce}e\ue001"

    def hide(self, value: Any) -> Any:
        """The same JSON-like value with every string made harmless."""
        if isinstance(value, str):
            return value.translate(self._table)
        if isinstance(value, Mapping):
            return {self._key(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def _key(self, key: Any) -> Any:
        """Keys are looked up by the template, so only one that spells a special token is changed."""
        return self.hide(key) if isinstance(key, str) and any(name in key for name in self._names) else key

    def restore(self, text: str) -> str:
        return str(self._stand_in.sub(lambda found: self._edges[int(found[1], 16)], text))


def _message(message: Message | Mapping[str, Any]) -> dict[str, Any]:
    return (
        {"role": message.role, "content": message.content} if isinstance(message, Message) else dict(message)
    )


def _document(document: Passage | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(document, Passage):
        return {"title": document.title, "source": document.source, "text": document.text}
    return dict(document)


def _rendered(
    tokenizer: Tokenizer, messages: Messages, documents: Documents, prompt: bool
) -> tuple[str, _Hidden]:
    hidden = _Hidden(tokenizer.specials)
    specials = {
        f"{key}_token": name
        for key, name in (("bos", BOS), ("eos", END), ("pad", PAD))
        if name in tokenizer.specials
    }
    variables = {
        "messages": hidden.hide([_message(message) for message in messages]),
        "documents": hidden.hide([_document(document) for document in documents]) or None,
        "tools": None,
        "add_generation_prompt": prompt,
        "_trained_from": hidden.start,
        "_trained_to": hidden.end,
        **specials,
    }
    return _run(tokenizer.chat_template, variables, hidden), hidden


def render(
    tokenizer: Tokenizer, messages: Messages, documents: Documents = (), add_generation_prompt: bool = True
) -> str:
    """The conversation as text, to look at. Encode with `encode_chat`: this text no longer tells who wrote what."""
    text, hidden = _rendered(tokenizer, messages, documents, add_generation_prompt)
    return hidden.restore(text.replace(hidden.start, "").replace(hidden.end, ""))


def encode_chat(
    tokenizer: Tokenizer, messages: Messages, documents: Documents = (), add_generation_prompt: bool = True
) -> ChatIds:
    """Ids of a conversation; only the template makes control ids.

    Raises RequestError (param "messages") when the template refuses, e.g. an unknown role; ArtifactError when the
    template itself is at fault; DataError on a lone surrogate.
    """
    text, hidden = _rendered(tokenizer, messages, documents, add_generation_prompt)
    names = sorted(tokenizer.specials, key=len, reverse=True)
    marks = "|".join(regex.escape(mark) for mark in (*names, hidden.start, hidden.end))
    ids: list[int] = []
    trained: list[bool] = []
    run, ends, inside = "", [], False  # ordinary text since the last special token; where trained flips in it
    for part in regex.split(f"({marks})", text):
        if part in (hidden.start, hidden.end):
            ends.append((len(run.encode("utf-8", "replace")), inside))
            inside = part == hidden.start
        elif part in tokenizer.specials:
            _append(tokenizer, run, [*ends, (None, inside)], ids, trained)
            run, ends = "", []
            ids.append(tokenizer.specials[part])
            trained.append(inside)
        else:
            run += hidden.restore(part)
    _append(tokenizer, run, [*ends, (None, inside)], ids, trained)
    return ChatIds(ids, trained)


def _append(
    tokenizer: Tokenizer, text: str, ends: list[tuple[int | None, bool]], ids: list[int], trained: list[bool]
) -> None:
    """Encode a run of ordinary text; a token is trained when its first byte lies in a trained stretch.

    ends: (byte offset where a stretch ends or None for the end of the text, is it trained), in order.
    """
    at, stretch = 0, 0
    for id in tokenizer.encode(text) if text else ():
        while (end := ends[stretch][0]) is not None and at >= end:
            stretch += 1
        ids.append(id)
        trained.append(ends[stretch][1])
        at += len(tokenizer.token_bytes(id))
