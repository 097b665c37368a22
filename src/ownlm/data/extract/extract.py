"""The step `extract`: a raw HTML page becomes its main text as Markdown; every other document passes unchanged.

blocks.py       source -> blocks of text in a light tree            linear, any depth
features.py     blocks -> rows of numbers
classifier.py   rows -> probability of being main text
write.py        the chosen blocks -> Markdown
metadata.py     title, date, author, language as the page states them (language: meta declared_language)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.adapters import trafilatura
from ownlm.data.extract.blocks import read_blocks
from ownlm.data.extract.classifier import Doubles, probabilities, weights
from ownlm.data.extract.features import features
from ownlm.data.extract.hints import COMMENT
from ownlm.data.extract.metadata import page_facts, stated_body
from ownlm.data.extract.tree import Tree
from ownlm.data.extract.write import markdown
from ownlm.data.flow.step import Note, drop
from ownlm.data.limits import Unusable
from ownlm.records import Document, Drop

_THRESHOLD = (
    0.45  # of the probability; cross-validated word-F1 .972 and segment F1 .915 (at 0.5: .9735 and .909)
)
_ENOUGH = 250  # characters; a page with less than this above the threshold is asked again, less strictly
_MODEST = 0.25
_COMMENT_SIZE = 40  # characters; what is shorter in a comment section is a name, a date or a button


class Extract(Settings):
    """Main text out of HTML pages (documents with meta format: html)."""

    engine: Literal["ownlm", "trafilatura"] = "ownlm"
    """ownlm: the extractor of this package. trafilatura: that package's, which must be installed."""
    tables: bool = True
    """Keep the tables of the main text."""
    comments: bool = False
    """Keep readers' comments that belong to the page (engine ownlm: blocks of a comment section)."""
    title: bool = False
    """Begin the text with the page's title as a heading, unless it begins with it anyway."""
    min_characters: int = Field(default=25, ge=1)
    """Drop a page with less main text than this."""
    max_characters: int = Field(default=64 << 20, ge=1)
    """Drop a page whose source is longer than this, unread."""

    def model_post_init(self, context: Any, /) -> None:
        if self.engine == "trafilatura":
            trafilatura.library()  # missing: say so now, not in the first worker

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            if document.meta.get("format") != "html":
                yield document
            else:
                yield self._extract(document)

    def _extract(self, document: Document) -> Document | Drop:
        if len(document.text) > self.max_characters:
            return drop(document, f"page too long: more than {self.max_characters} characters")
        try:
            page = self._page(document.text)
        except Unusable as error:
            return drop(document, str(error))
        if len(page.text.strip()) < self.min_characters:
            return drop(document, "no main text")
        text = page.text
        title = page.facts.get("title", "")
        if self.title and title and not text.lstrip("# ").startswith(title):
            text = f"# {title}\n\n{text}"
        meta = {
            **document.meta,
            **{key: value for key, value in page.facts.items() if not document.meta.get(key)},
        }
        meta["format"] = "markdown"
        return replace(document, text=text, meta=meta)

    def _page(self, source: str) -> Page:
        if self.engine == "ownlm":
            return main_text(source, tables=self.tables, comments=self.comments)
        text = trafilatura.main_text(source, tables=self.tables, comments=self.comments)
        return Page(text, page_facts(read_blocks(source).head))


@dataclass(frozen=True, slots=True)
class Page:
    text: str  # Markdown, "" where the page has no main text
    facts: dict[str, str]  # title, date, author, declared_language, where stated


def main_text(source: str, *, tables: bool = True, comments: bool = False) -> Page:
    """The main text of an HTML source. Linear in its length; nesting depth is free."""
    tree = read_blocks(source)
    facts = page_facts(tree.head)
    if not tree.blocks:
        return Page("", facts)
    chosen = choose(tree, facts.get("title", ""), comments)
    if not tables:
        chosen = chosen[[tree.blocks[index].kind != "row" for index in chosen]]
    return Page(markdown(tree.blocks, chosen.tolist()), facts)


def choose(tree: Tree, title: str, comments: bool = False) -> NDArray[np.int64]:
    """Ascending indices of the blocks that are main text."""
    chosen = decide(tree, probabilities(features(tree, title, stated_body(tree.head)), weights()))
    if comments:
        inherited = tree.inherited[[block.node for block in tree.blocks]]
        sizes = np.array([len(block.text) for block in tree.blocks])
        chosen |= (inherited & COMMENT > 0) & (sizes >= _COMMENT_SIZE)
    return np.flatnonzero(chosen)


def decide(tree: Tree, likely: Doubles) -> NDArray[np.bool_]:
    """[block] whether it is main text, from its probability."""
    chosen = likely >= _THRESHOLD
    size = sum(len(tree.blocks[index].text) for index in np.flatnonzero(chosen))
    return chosen if size >= _ENOUGH else likely >= _MODEST
