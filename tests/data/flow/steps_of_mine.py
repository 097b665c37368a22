"""Steps as a user writes them, and steps that do what a hostile document can make a parser do."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field

from ownlm.config import Settings
from ownlm.data.flow.step import Arrays, drop
from ownlm.errors import MissingDependency
from ownlm.records import Document, Drop


class Short(Settings):
    """Drops documents with few words."""

    least: int = Field(3, ge=1)
    """Words below which a document goes."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        for document in documents:
            count = len(document.text.split())
            yield document if count >= self.least else drop(document, f"few words: {count}")


class Trouble(Settings):
    """Does to the worker what the document says."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        for document in documents:
            if "CRASH" in document.text:
                os.kill(os.getpid(), signal.SIGSEGV)
            if "HANG" in document.text:
                while True:
                    pass
            if "SLEEP" in document.text:
                time.sleep(3600)
            if "MEMORY" in document.text:
                bytearray(4 << 30)
            if "RAISE" in document.text:
                raise ValueError("no good")
            yield document


class Broken(Settings):
    """Raises on everything."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop]:
        for document in documents:
            raise KeyError(document.id)
            yield document


class FirstOfLength(Settings):
    """A corpus step: keeps the first document of every length."""

    def sketch(self, documents: Iterator[Document]) -> Arrays:
        return {"lengths": np.array([len(document.text) for document in documents], np.int64)}

    def decide(self, sketches: Sequence[Arrays]) -> Sequence[Arrays]:
        seen: set[int] = set()
        decisions: list[Mapping[str, np.ndarray]] = []
        for sketch in sketches:
            keep = []
            for length in sketch["lengths"].tolist():
                keep.append(length not in seen)
                seen.add(length)
            decisions.append({"keep": np.array(keep, bool)})
        return decisions

    def apply(self, documents: Iterator[Document], decision: Arrays) -> Iterator[Document | Drop]:
        for document, keep in zip(documents, decision["keep"].tolist(), strict=True):
            yield document if keep else drop(document, "same length")


class Shout(Settings):
    """Changes every document."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            yield dataclasses.replace(document, text=document.text.upper())


class NeedsPackage(Settings):
    """Cannot work here, whatever the document."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document]:
        for _ in documents:
            raise MissingDependency("A package is missing.", "nothing", "pip install nothing")
            yield


class HangsFromTheStart(Settings):
    """Never gives anything back."""

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            while True:
                pass
            yield document
