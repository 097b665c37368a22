"""Which documents are held out from training: whole documents, chosen by hash, never by position.

Documents of one group stay on one side: rows that name the same `group` or `path` (translations, versions),
files that differ in their suffix only. `is_heldout` is the pure rule for large corpora: adding documents moves
none of the others. `divide` uses it when there are many groups, and picks by rank of the same hash when there
are few, where chance alone could hold out nothing or nearly everything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from ownlm.data import store
from ownlm.data.formats import stem_of
from ownlm.records import Document

MANY_GROUPS = 1000  # from here on the share held out by pure chance is within a few percent of the wish


def group_of(document: Document) -> str:
    """What must not be torn apart: the row's group, else the path without its suffixes."""
    group = document.meta.get("group")
    return group if isinstance(group, str) and group else stem_of(document.source)


def _score(seed: int, key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"), seed & (2**64 - 1))


def is_heldout(document: Document, fraction: float, seed: int) -> bool:
    """Pure in (seed, group of the document): the same answer in every corpus."""
    return _score(seed, group_of(document)) < fraction * 2**64


@dataclass(slots=True)
class _Group:
    score: int
    documents: int = 0
    characters: int = 0


def choose(sizes: Iterable[tuple[str, int]], fraction: float, seed: int) -> set[str]:
    """The groups to hold out, from (group, characters) of every document.

    With at least two groups, at least one is held out and at least one is not. Below MANY_GROUPS the number of
    held-out documents is max(1, round(fraction * documents)) whenever the groups allow it, and no group with
    more than twice its share of the characters is taken if another one will do.
    """
    groups: dict[str, _Group] = {}
    for name, characters in sizes:
        group = groups.setdefault(name, _Group(_score(seed, name)))
        group.documents += 1
        group.characters += characters
    if len(groups) < 2 or fraction <= 0:
        return set()
    num_documents = sum(group.documents for group in groups.values())
    target = max(1, round(fraction * num_documents))
    if len(groups) >= MANY_GROUPS:
        chosen = {name for name, group in groups.items() if group.score < fraction * 2**64}
        held = sum(groups[name].documents for name in chosen)
        if target / 2 <= held <= target * 2:
            return chosen
    return _by_rank(groups, target, fraction)


def _by_rank(groups: dict[str, _Group], target: int, fraction: float) -> set[str]:
    ranked = sorted(groups, key=lambda name: (groups[name].score, name))
    share = fraction * sum(group.characters for group in groups.values())
    chosen: set[str] = set()
    held = 0
    for name in ranked:
        group = groups[name]
        if (
            held + group.documents <= target
            and group.characters <= 2 * share
            and len(chosen) < len(groups) - 1
        ):
            chosen.add(name)
            held += group.documents
    if not chosen:  # every group is too large: the one nearest to the wished share of the text
        chosen = {min(ranked, key=lambda name: abs(groups[name].characters - share))}
    return chosen


def divide(
    documents: Iterable[Document], fraction: float, seed: int, scratch: Path | None = None
) -> Iterator[tuple[Document, bool]]:
    """Every document in order, with True when it is held out. At least one is, when there are two or more.

    Which groups there are is known only at the end, so the documents wait in a compressed file in `scratch`
    (the system's temporary folder by default): memory stays at a few bytes per document.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="split-") as folder:
        spool = Path(folder) / "documents.jsonl.zst"
        sizes: list[tuple[str, int]] = []
        ids: list[tuple[str, int]] = []

        def noted() -> Iterator[Document]:
            for document in documents:
                sizes.append((group_of(document), len(document.text)))
                ids.append((document.id, len(document.text)))
                yield document

        store.write_documents(spool, noted())
        one_group = (
            len({group for group, _ in sizes}) == 1
        )  # all rows share a path: divide by document instead
        heldout = choose(ids if one_group else sizes, fraction, seed)
        for document, (group, _) in zip(store.read_documents(spool), sizes, strict=True):
            yield document, (document.id if one_group else group) in heldout
