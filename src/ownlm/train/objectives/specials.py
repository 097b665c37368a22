"""Ids of the special tokens that an objective needs, by role. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ownlm.errors import UsageError

ROLES = {
    "bos": "begins a document",
    "end": "ends a source, a target or a middle",
    "pad": "fills a row",
    "mask": "stands for a hidden token",
    "cls": "begins a pair",
    "sep": "ends each text of a pair",
    "sentinels": "stand for spans, one each",
    "modes": "say which denoiser (UL2): R, S, X",
    "stops": "end a sentence",
    "infill_prefix": "before a prefix",
    "infill_suffix": "before a suffix",
    "infill_middle": "before a middle",
}
"""What each token is for."""


@dataclass(frozen=True, slots=True)
class Specials:
    """role -> ids. Which tokens of a tokenizer these are is the caller's choice: reserved tokens will do."""

    ids: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.ids) - set(ROLES))
        if unknown:
            raise UsageError("These roles of special tokens are not known.", ", ".join(unknown), f"use {', '.join(ROLES)}")  # fmt: skip

    def one(self, role: str) -> int:
        """Raises UsageError where the role has not exactly one token."""
        found = self.all(role)
        if len(found) != 1:
            raise UsageError(
                f"The objective needs one token that {_of(role)}.", f"{role}: {list(found)}", "give one id"
            )
        return found[0]

    def all(self, role: str) -> tuple[int, ...]:
        """Raises UsageError where the role has none."""
        found = tuple(self.ids.get(role, ()))
        if not found:
            raise UsageError(
                f"The objective needs tokens of the role {role} ({ROLES[role]}).",
                f"known: {', '.join(f'{name} {list(ids)}' for name, ids in self.ids.items()) or 'none'}",
                f"reserve special tokens in the tokenizer and give their ids as {role}",
            )
        return found

    def reserved(self) -> tuple[int, ...]:
        """All ids but those of ordinary text (the ends of sentences), for "never mask these"."""
        return tuple(sorted({n for role, ids in self.ids.items() if role != "stops" for n in ids}))


def _of(role: str) -> str:
    return f"{ROLES[role]} ({role})"
