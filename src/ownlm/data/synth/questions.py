"""Questions with reference answers, written from a document by rule: what is X, how do I, which place, what returns.

Each answer is one claim in the form that a grounded answer has (without the [n], which depends on what was
retrieved): `TITLE: SENTENCE` or `TITLE is in SOURCE.`, all three verbatim. Deterministic in (document, seed).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from ownlm.data.synth import headings, phrasing, prose, python_source
from ownlm.data.synth.drafts import Draft
from ownlm.data.synth.outline import Section, language_of, sections
from ownlm.data.synth.unanswerable import REFUSAL, unanswerable
from ownlm.records import Document, Question
from ownlm.runtime.seed import generator

__all__ = ["REFUSAL", "from_document", "unanswerable"]

KINDS = ("what_is", "who_is", "how_to", "which_place", "returns", "raises", "arguments", "section", "about")
_MOST_SECTIONS = 2000  # of one document that questions are written from, spread over it


def from_document(
    document: Document,
    *,
    seed: int = 0,
    most: int = 60,
    count_of: Callable[[str], int] | None = None,
    mentions_of: Callable[[str], int] | None = None,
) -> Iterator[Question]:
    """At most `most` questions of mixed kinds, in the order of the text.

    count_of: how many sections of the whole collection bear a name (LexicalIndex.sections_named); without it a
    name counts as shared when the document itself has it twice or it is short. mentions_of: in how many passages of
    the collection a phrase stands (LexicalIndex.mentions); without it the document's own mentions count.
    """
    found = list(sections(document))
    found = found[:: max(1, -(-len(found) // _MOST_SECTIONS))]
    inside: dict[str, int] = {}
    for section in found:
        if section.opens:
            inside[section.name.lower()] = inside.get(section.name.lower(), 0) + 1
    drafts: list[Draft] = []
    for section in found:
        elsewhere = count_of(section.name) if count_of else (1 if len(section.name) >= 8 else 2)
        alone = max(inside.get(section.name.lower(), 1), elsewhere) <= 1
        drafts.extend(_drafts(document, section, alone, mentions_of))
    draw = generator(seed, "questions", document.id)
    chosen = _choose(drafts, most, draw)
    seen: set[str] = set()
    for draft in chosen:
        text = phrasing.ask(draft.templates, draft.x, draw)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        key = f"{document.id}\n{draft.kind}\n{draft.start}\n{text}".encode("utf-8", "replace")
        yield Question(
            f"{draft.kind}-{hashlib.blake2b(key, digest_size=6).hexdigest()}", draft.kind, text, draft.answer,
            draft.subject, document.id, draft.start, draft.end,
        )  # fmt: skip


def _drafts(
    document: Document, section: Section, alone: bool, mentions_of: Callable[[str], int] | None
) -> Iterator[Draft]:
    language = language_of(document)
    if language == "python":
        yield from python_source.drafts(document, section, alone)
    elif language:
        yield from _code_drafts(document, section, alone)
    else:
        if section.kind == "section" or section.kind == "chapter":
            yield from headings.drafts(document, section, alone)
        yield from prose.drafts(document, section, mentions_of)


def _code_drafts(document: Document, section: Section, alone: bool) -> Iterator[Draft]:
    """Other source code: where a thing is, and what the comment above it says."""
    from ownlm.data.synth.drafts import is_in, says
    from ownlm.data.synth.sentences import plain, sentences

    if section.kind != "function" or len(section.name) < 4:
        return
    x = section.name if alone else f"{section.name} in {section.parent}"
    yield Draft("which_place", phrasing.WHERE_CODE, x, is_in(section.title, document.source), section.name, section.start, section.end)  # fmt: skip
    found = [span for span in sentences(document.text, section.start, section.end, code=True)][:1]
    for span in found:
        sentence = plain(document.text[slice(*span)])
        yield Draft("what_is", phrasing.WHAT_DOES, x, says(section.title, sentence), section.name, *span)


def _choose(drafts: list[Draft], most: int, draw: object) -> list[Draft]:
    """A seeded choice that gives every kind its turn, so that a frequent kind does not crowd out the others."""
    by_kind: dict[str, list[int]] = {}
    for number in draw.permutation(len(drafts)).tolist():  # type: ignore[attr-defined]
        by_kind.setdefault(drafts[number].kind, []).append(number)
    chosen: list[int] = []
    while len(chosen) < most and any(by_kind.values()):
        for kind in sorted(by_kind):
            if by_kind[kind] and len(chosen) < most:
                chosen.append(by_kind[kind].pop())
    return [drafts[number] for number in sorted(chosen)]
