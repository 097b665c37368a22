"""Messages and documents -> ids, through the one chat template of the model folder.

The template is Jinja, rendered in a sandbox (chat_render.py); one that did not come with ownlm in a child process.

Text can never become a control token: before rendering, every character of a message, document or tool that could begin
or end a control token's name is replaced by a private character that occurs nowhere in the input; the rendered text is
cut at the control tokens that are then still there (so the template wrote them), and the characters are put back
in the pieces between, which are encoded as ordinary text. Control tokens are the special tokens, and those other added
tokens that the template's source names (some families mark roles with tokens that are not special).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from ownlm.errors import ArtifactError, RequestError, UsageError
from ownlm.records import Message, Passage
from ownlm.tokenizer.added import WHITE_SPACE
from ownlm.tokenizer.chat_child import render_apart
from ownlm.tokenizer.chat_render import TemplateFault, TemplateRefusal
from ownlm.tokenizer.chat_render import render as render_here
from ownlm.tokenizer.pipeline import PipelineTokenizer
from ownlm.tokenizer.sentencepiece import SentencePieceTokenizer
from ownlm.tokenizer.tokenizer import Tokenizer

Messages = Sequence[Message | Mapping[str, Any]]
Documents = Sequence[Passage | Mapping[str, Any]]
AnyTokenizer = Tokenizer | PipelineTokenizer | SentencePieceTokenizer

FAMILIES = ("chatml", "llama3", "mistral", "mistral_v1", "gemma", "ownlm")
"""The templates that come with ownlm; `template(name)` is their source."""


@dataclass(frozen=True, slots=True)
class ChatIds:
    """ids[i] is trained on when trained[i]: assistant content and the token that ends it."""

    ids: list[int]
    trained: list[bool]


@lru_cache(maxsize=len(FAMILIES))
def template(name: str) -> str:
    """The Jinja source of a family's chat template. Raises UsageError for an unknown name."""
    if name not in FAMILIES:
        raise UsageError(
            "There is no chat template of this name.", f"{name!r}", f"use one of {', '.join(FAMILIES)}"
        )
    folder = resources.files("ownlm.tokenizer") / "chat_templates"
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


def render(
    tokenizer: AnyTokenizer,
    messages: Messages,
    documents: Documents = (),
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, bool | int | str] | None = None,
) -> str:
    """The conversation as text, to look at. Encode with `encode_chat`: this text no longer tells who wrote what."""
    text, hidden = _rendered(tokenizer, messages, documents, add_generation_prompt, tools, options)
    return hidden.restore(text.replace(hidden.start, "").replace(hidden.end, ""))


def encode_chat(
    tokenizer: AnyTokenizer,
    messages: Messages,
    documents: Documents = (),
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, bool | int | str] | None = None,
) -> ChatIds:
    """Ids of a conversation; only the template makes control ids.

    tools: JSON schemas of functions, for templates that show them. options: further variables of the template
    (`enable_thinking`); single values only, and as untrusted as the messages.
    Raises RequestError (param "messages") when the template refuses, e.g. an unknown role; ArtifactError when the
    template itself is at fault or late; DataError on a lone surrogate.
    """
    text, hidden = _rendered(tokenizer, messages, documents, add_generation_prompt, tools, options)
    controls = hidden.controls
    out = ChatIds([], [])
    flips: list[tuple[int | None, bool]] = []
    run, inside, first = "", False, True
    pending: int | None = None  # the control id before the run
    for part in (*hidden.cut(text), None):
        if part is None or part in controls:
            after = None if part is None else controls[part]
            _append(tokenizer, _Run(run, (*flips, (None, inside)), pending, after, first, controls), out)
            first = first and not run and part is None
            run, flips, pending = "", [], after
            if after is not None:
                out.ids.append(after)
                out.trained.append(inside)
        elif part in (hidden.start, hidden.end):
            flips.append((len(run), inside))
            inside = part == hidden.start
        else:
            run += hidden.restore(part)
    return out


def control_tokens(tokenizer: AnyTokenizer) -> dict[str, int]:
    """Name -> id of every token that only the template may write."""
    controls = dict(tokenizer.specials)
    if isinstance(tokenizer, PipelineTokenizer):
        source = tokenizer.chat_template
        controls |= {token.content: token.id for token in tokenizer.added if token.content in source}
    elif isinstance(tokenizer, SentencePieceTokenizer):
        source = _source(tokenizer)
        controls |= {piece: id for piece, id in tokenizer.user_defined().items() if piece in source}
    return controls


def _source(tokenizer: AnyTokenizer) -> str:
    if tokenizer.chat_template is None:
        raise UsageError(
            "This tokenizer came without a chat template.",
            tokenizer.family,
            'put a chat_template.jinja beside its file, or set tokenizer.chat_template = chat.template("chatml")',
        )
    return tokenizer.chat_template


class _Hidden:
    """Private characters, absent from all of the input, for those that begin or end a control token's name."""

    def __init__(self, controls: Mapping[str, int], texts: Iterable[str]) -> None:
        self.controls = dict(controls)
        edges = sorted({name[0] for name in controls} | {name[-1] for name in controls})
        free = _free_letters(texts)
        try:
            self.table = {ord(edge): next(free) for edge in edges}
            self.start, self.end = next(free), next(free)
        except StopIteration:
            raise RequestError(
                "These messages use every private character of Unicode.", "", "send plain text", "messages"
            ) from None
        self._edges = {letter: chr(edge) for edge, letter in self.table.items()}
        escaped = {
            f"\\u{ord(letter):04x}": edge for letter, edge in self._edges.items() if letter <= "\uffff"
        }
        self._edges |= escaped  # of a template that writes JSON in ASCII
        self._stand_in = _any_of(self._edges)
        self._marks = _any_of([*controls, self.start, self.end])

    def hide(self, value: Any) -> Any:
        """The same JSON-like value with every string made harmless."""
        if isinstance(value, str):
            return value.translate(self.table)
        if isinstance(value, Mapping):
            return {self._key(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        raise RequestError(
            "A message holds what is no JSON value.",
            type(value).__name__,
            "send text and numbers",
            "messages",
        )

    def _key(self, key: Any) -> Any:
        """Keys are looked up by the template, so only one that could hold a part of a control token is changed."""
        harmless = isinstance(key, str) and re.fullmatch(r"[\w .$/-]*", key)
        return key if harmless and not any(name in key for name in self.controls) else self.hide(str(key))

    def restore(self, text: str) -> str:
        return self._stand_in.sub(lambda found: self._edges[found[0]], text) if self._edges else text

    def cut(self, text: str) -> list[str]:
        """The rendered text, cut at control tokens and at the marks of trained stretches."""
        return [part for part in self._marks.split(text) if part]


def _any_of(texts: Collection[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) + ")")


def _free_letters(texts: Iterable[str]) -> Iterator[str]:
    """Private characters that occur in none of the texts, neither as such nor escaped as in JSON."""
    everything = "".join(texts)
    used = set(everything)
    escapes = {found.lower() for found in re.findall(r"\\u[0-9a-fA-F]{4}", everything)}
    for low, high in ((0xE000, 0xF900), (0xF0000, 0xFFFFE), (0x100000, 0x10FFFE)):
        for code in range(low, high):
            if chr(code) not in used and f"\\u{code:04x}" not in escapes:
                yield chr(code)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _message(message: Message | Mapping[str, Any]) -> dict[str, Any]:
    return (
        {"role": message.role, "content": message.content} if isinstance(message, Message) else dict(message)
    )


def _document(document: Passage | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(document, Passage):
        return {"title": document.title, "source": document.source, "text": document.text}
    return dict(document)


def _rendered(
    tokenizer: AnyTokenizer,
    messages: Messages,
    documents: Documents,
    prompt: bool,
    tools: Sequence[Mapping[str, Any]],
    options: Mapping[str, bool | int | str] | None,
) -> tuple[str, _Hidden]:
    source = _source(tokenizer)
    given = {
        "messages": [_message(message) for message in messages],
        "documents": [_document(document) for document in documents] or None,
        "tools": [dict(tool) for tool in tools] or None,
        **_checked(options or {}),
    }
    for name in ("documents", "tools"):
        if given[name] and name not in source:
            raise RequestError(
                f"The chat template shows no {name}.",
                "",
                "put them into a message, or use another template",
                name,
            )
    try:
        hidden = _Hidden(control_tokens(tokenizer), (source, *_strings(given)))
        variables = {
            **hidden.hide(given),
            "add_generation_prompt": prompt,
            "_trained_from": hidden.start,
            "_trained_to": hidden.end,
            **{f"{role}_token": name for role, name in tokenizer.named.items()},
        }
    except RecursionError:
        raise RequestError(
            "These messages are nested too deep.", "", "send flatter ones", "messages"
        ) from None
    trusted = any(source == template(name) for name in FAMILIES)
    try:
        return (render_here if trusted else render_apart)(source, variables, hidden.table), hidden
    except TemplateRefusal as error:
        raise RequestError(
            "The chat template refuses these messages.", hidden.restore(str(error)), "change them", "messages"
        ) from None
    except TemplateFault as error:
        detail = f"chat_template.jinja: {hidden.restore(str(error))}"
        raise ArtifactError(
            "The chat template failed.", detail, "restore the file, or check the messages"
        ) from None


_OWN_NAMES = ("messages", "documents", "tools", "add_generation_prompt")


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in options.items():
        free = name.isidentifier() and not name.startswith("_") and not name.endswith("_token")
        if not free or name in _OWN_NAMES or not isinstance(value, bool | int | str):
            raise RequestError(
                "This is no option of a chat template.",
                f"{name[:60]!r} = {str(value)[:60]!r}",
                "options are true, false, numbers and strings under names of their own",
                "options",
            )
    return options


@dataclass(frozen=True, slots=True)
class _Run:
    """Ordinary text between two control tokens."""

    text: str
    ends: tuple[
        tuple[int | None, bool], ...
    ]  # (character where a stretch ends, None: the end; is it trained)
    before: int | None  # the control ids around it
    after: int | None
    first: bool  # nothing stands before it
    controls: Mapping[str, int]


def _append(tokenizer: AnyTokenizer, run: _Run, out: ChatIds) -> None:
    """Encode a run; a token is trained when it begins in a trained stretch."""
    if not run.text:
        return
    if isinstance(tokenizer, PipelineTokenizer):
        ids, ends = _pipeline_ids(tokenizer, run)
    elif isinstance(tokenizer, SentencePieceTokenizer):
        ids, ends = _compared(tokenizer.without(run.controls).encode, run.text, 0, run)
    else:
        ids = tokenizer.encode(run.text)
        ends = [
            (_tokens_before(tokenizer, ids, len(run.text[:end].encode("utf-8"))), on)
            for end, on in run.ends
            if end is not None
        ]
    out.ids.extend(ids)
    at = 0
    for end, on in (*ends, (len(ids), run.ends[-1][1])):
        out.trained.extend([on] * (end - at))
        at = max(at, end)


def _tokens_before(tokenizer: Tokenizer, ids: Sequence[int], end: int) -> int:
    """How many tokens begin before a byte of the run."""
    at = 0
    for count, id in enumerate(ids):
        if at >= end:
            return count
        at += len(tokenizer.token_bytes(id))
    return len(ids)


def _pipeline_ids(tokenizer: PipelineTokenizer, run: _Run) -> tuple[list[int], list[tuple[int, bool]]]:
    """Ids and ends (see `_compared`) of a run whose neighbours may take the white space between."""
    text = run.text
    if run.before is not None and tokenizer.strips(run.before)[1]:
        text = text.lstrip(WHITE_SPACE)
    gone = len(run.text) - len(text)
    if run.after is not None and tokenizer.strips(run.after)[0]:
        text = text.rstrip(WHITE_SPACE)
    return _compared(
        lambda part: tokenizer.encode_run(part, run.first, as_text=run.controls), text, gone, run
    )


def _compared(
    encode: Callable[[str], list[int]], text: str, gone: int, run: _Run
) -> tuple[list[int], list[tuple[int, bool]]]:
    """Ids, and (how many tokens begin before the end of a stretch, is it trained). gone: characters cut off in front.

    What a normalizer does to offsets is not tracked: the tokens of the text up to there are compared with the tokens
    of the whole, and where they part, one token reaches over the boundary.
    """
    ids = encode(text)
    ends = []
    for end, on in run.ends:
        if end is None:
            continue
        start = encode(text[: max(0, end - gone)])
        same = next((n for n, pair in enumerate(zip(start, ids, strict=False)) if pair[0] != pair[1]), None)
        ends.append((min(len(start), len(ids)) if same is None else min(same + 1, len(ids)), on))
    return ids, ends
