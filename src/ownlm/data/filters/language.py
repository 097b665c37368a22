"""Step `language`: keep the documents that are in the wanted languages, and write which language each is in.

Writes meta "language" (ISO 639-1 or "unknown") and "language_score" (0 to 1, the share of the looked-at text), and
"languages" (a list, largest first) where a second language has `mixed_share` or more. How it decides, and what it
cannot tell apart, is in data/language/identify.py; 85 languages, no download.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import field_validator

from ownlm.config import Settings
from ownlm.data.flow.step import Note, drop
from ownlm.data.language.codes import UNKNOWN, normal
from ownlm.data.language.identify import Guess, identify
from ownlm.errors import UsageError
from ownlm.records import Document, Drop

ANY = "any"


class Language(Settings):
    """Drops "language: de 0.98", "language uncertain: en 0.41", "language unknown", "language mixed: en 0.6 de 0.4"."""

    languages: tuple[str, ...] = ("en",)
    """Codes to keep: ISO 639-1, or other usual names (`no` for nb and nn, `fil`, `zh-CN`, `eng`); `any` keeps all and
    only writes what was found."""
    min_prob: float = 0.65
    """Keep at or above this probability (FineWeb, Penedo et al. 2024: 0.65). `any` ignores it."""
    unknown: Literal["drop", "keep"] = "drop"
    """What to do with texts without letters, in no known language, or mostly code."""
    mixed: Literal["keep", "drop"] = "keep"
    """What to do with documents in which a second language has `mixed_share` or more; they are flagged either way."""
    mixed_share: float = 0.2
    """Share of a second language from which on a document counts as mixed. Close languages (hr/bs/sr ...) do not
    count as a second one when both are wanted."""

    @field_validator("languages", mode="before")
    @classmethod
    def _codes(cls, value: object) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not names:
            raise ValueError("give at least one language, e.g. [en, de], or any")
        try:
            return tuple(dict.fromkeys(code for name in names for code in _codes_of(str(name))))
        except UsageError as error:
            raise ValueError(f"{error.values} cannot be identified: {error.fix}") from error

    @field_validator("min_prob", "mixed_share")
    @classmethod
    def _share(cls, value: float) -> float:
        if not 0.0 <= value <= 1.0:
            raise ValueError("must be between 0 and 1")
        return value

    def __call__(self, documents: Iterator[Document]) -> Iterator[Document | Drop | Note]:
        for document in documents:
            guess = identify(document.text)
            others = self._others(guess)
            reason = self._reason(guess, others)
            if reason:
                yield drop(document, reason)
                continue
            found = {"language": guess.language, "language_score": guess.probability}
            if others:
                yield Note("documents in several languages flagged")
            listed = {"languages": [guess.language, *others]} if others else {}
            yield replace(document, meta={**document.meta, **found, **listed})

    def _others(self, guess: Guess) -> list[str]:
        """Languages besides the first that make the document a mixed one."""
        wanted = set(self.languages)
        return [
            name
            for name, share in guess.shares.items()
            if name not in (guess.language, UNKNOWN)
            and share >= self.mixed_share
            and not (ANY not in wanted and {name, guess.language} <= wanted)
        ]

    def _reason(self, guess: Guess, others: list[str]) -> str:
        if guess.language == UNKNOWN:
            return "" if self.unknown == "keep" else f"language unknown: {guess.letters} letters"
        if others and self.mixed == "drop":
            return "language mixed: " + " ".join(
                f"{name} {share:.2f}" for name, share in guess.shares.items()
            )
        if ANY in self.languages:
            return ""
        probability = sum(share for name, share in guess.shares.items() if name in self.languages)
        if guess.language not in self.languages and probability < self.min_prob:
            return f"language: {guess.language} {guess.probability:.2f}"
        if probability < self.min_prob:
            return f"language uncertain: {guess.language} {guess.probability:.2f}"
        return ""


def _codes_of(name: str) -> tuple[str, ...]:
    return (ANY,) if name.strip().lower() in (ANY, "*") else normal(name)
