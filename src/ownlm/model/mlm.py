"""The masked-token objective of BERT (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ownlm.errors import UsageError

IGNORED = -100
"""Label of a token that is not asked for."""


def mask_tokens(
    ids: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    rate: float = 0.15,
    keep: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """ids [B, T] -> inputs [B, T] and labels [B, T] (IGNORED where nothing is asked).

    Each token is asked for with probability `rate`; of those 80 % become mask_id, 10 % a random id, 10 % stay.
    keep: bool [B, T], True for tokens that are never asked for (special ones, padding).
    """
    if not 0.0 < rate <= 1.0:
        raise UsageError("The rate of masking must be in (0, 1].", f"rate = {rate}", "BERT used 0.15")
    asked = torch.rand(ids.shape, generator=generator, device=ids.device) < rate
    if keep is not None:
        asked &= ~keep
    fate = torch.rand(ids.shape, generator=generator, device=ids.device)
    random = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    changed = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, random, ids))
    return torch.where(asked, changed, ids), torch.where(asked, ids, IGNORED)


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [B, T, V], labels [B, T] -> mean nats per asked token; 0, not NaN, where nothing is asked."""
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)
