"""How the tensors of a foreign checkpoint correspond to ours: one Rule per foreign tensor, both directions.

A family (families/NAME.py) is a module with
    MODEL_TYPES   model_type values of config.json that it reads, the first is the one it writes
    read(raw, where) -> config                 raises ArtifactError for anything it cannot reproduce exactly
    write(config) -> dict                      the family's part of config.json; hf.save adds ids and dtype
    build(config) -> nn.Module                 without weights worth keeping; called on the meta device too
    rules(config) -> list[Rule]                every tensor of a complete checkpoint
    copies(config) -> dict[str, str]           foreign tensors that may be there and must equal another, as a
                                               tied lm_head.weight -> model.embed_tokens.weight
    IGNORED       patterns (full match) of stored buffers without effect, as rotary inv_freq
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def _only(parts: Sequence[Tensor]) -> Tensor:
    return parts[0]


def _alone(tensor: Tensor) -> Sequence[Tensor]:
    return [tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """theirs = join(ours); ours = split(theirs). Both must work on meta tensors: they give the expected shapes."""

    theirs: str
    ours: tuple[str, ...]
    join: Callable[[Sequence[Tensor]], Tensor] = _only
    split: Callable[[Tensor], Sequence[Tensor]] = _alone


def same(theirs: str, ours: str) -> Rule:
    """Equal tensors under two names."""
    return Rule(theirs, (ours,))


def transposed(theirs: str, ours: str) -> Rule:
    """A matrix stored as [in, out] (GPT-2's Conv1D)."""
    return Rule(theirs, (ours,), lambda parts: parts[0].T.contiguous(), lambda t: [t.T.contiguous()])


def stacked(theirs: str, ours: Sequence[str], rows: Sequence[int]) -> Rule:
    """Several tensors one under the other in a fused one; rows: of each, in order."""
    sizes = list(rows)
    return Rule(theirs, tuple(ours), lambda parts: torch.cat(list(parts), dim=0), lambda t: list(torch.split(t, sizes, dim=0)))  # fmt: skip
