"""Step `pii`: personal data out, typed placeholders in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.data.privacy.finding import IDENTIFIERS, KINDS, PLACEHOLDERS
from ownlm.data.privacy.redact import Redactor
from ownlm.records import Document, Drop


class Pii(Settings):
    """Replaces personal data by placeholders such as [EMAIL], or drops documents with much of it."""

    types: tuple[str, ...] = Field(default=IDENTIFIERS, min_length=1)
    """Kinds to look for: the identifiers by default (keys, mail, cards, accounts, state numbers, network addresses,
    telephones). On request also DOMAIN_NAME, DATE_TIME, AGE, TITLE, ZIP_CODE, and by the slower name model
    STREET_ADDRESS, PERSON, ORGANIZATION, GPE (places) and NRP (nationality, religion, politics)."""
    action: Literal["replace", "drop"] = "replace"
    """replace: put placeholders in. drop: drop documents that have more findings than `most`."""
    most: int = Field(default=0, ge=0)
    """With action drop: how many findings a document may have."""
    numbered: bool = False
    """Number placeholders per document, so that [PERSON_1] is the same person throughout."""
    obfuscated_mail: bool = False
    """Also find mail addresses written as "jane (at) example dot org"."""

    @field_validator("types")
    @classmethod
    def _known(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [kind for kind in types if kind not in KINDS]:
            raise ValueError(f"unknown kinds {', '.join(unknown)}; known are {', '.join(KINDS)}")
        return types

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        redactor = Redactor(self.types, numbered=self.numbered, obfuscated=self.obfuscated_mail)
        for document in documents:
            redacted = redactor.redact(document.text)
            if self.action == "drop" and len(redacted.replaced) > self.most:
                kinds = ", ".join(f"{PLACEHOLDERS[kind]} {n}" for kind, n in redacted.counts.items())
                # The sample of a drop goes into reports: it must not carry what the document was dropped for.
                yield dataclasses.replace(
                    drop(document, f"personal data: {kinds}"), sample=redacted.text[:300]
                )
                continue
            if self.action == "drop" or not redacted.replaced:
                yield document
                continue
            for kind, count in redacted.counts.items():
                yield Note(f"{PLACEHOLDERS[kind]} replaced", count)
            yield dataclasses.replace(document, text=redacted.text)
