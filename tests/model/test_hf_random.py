"""Configurations that nobody chose: random models of every family against transformers, both directions, and cached.

OWNLM_RANDOM_SEED moves to other draws; each family gets OWNLM_RANDOM_CASES of them (default 4).
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from random_cases import FAMILIES, V

from ownlm.model.adapters import hf
from ownlm.model.decoder import Decoder

SEED = int(os.environ.get("OWNLM_RANDOM_SEED", "0"))
CASES = int(os.environ.get("OWNLM_RANDOM_CASES", "4"))
TWO_SIDED = ("t5", "bart")


def answer(model: Any, ids: torch.Tensor, two_sided: bool) -> torch.Tensor:
    """transformers' logits; two-sided models continue the first tokens of the text they read."""
    more = {"decoder_input_ids": ids[:, :7]} if two_sided else {}
    logits: torch.Tensor = model(input_ids=ids, **more).logits
    return logits


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", range(SEED, SEED + CASES))
@torch.no_grad()
def test_a_random_model_gives_the_same_logits_both_ways(family: str, case: int, tmp_path: Path) -> None:
    r, noise = random.Random(f"{family}{case}"), torch.Generator().manual_seed(case)
    theirs = FAMILIES[family](r).eval()
    for weight in theirs.parameters():  # unit norms and zero biases would hide what they do
        weight.add_(0.15 * torch.randn(weight.shape, generator=noise))
    ids = torch.randint(6, V, (2, r.choice([1, 9, 40, 60])), generator=noise)
    two_sided = family in TWO_SIDED
    expected = answer(theirs, ids, two_sided)
    near = 1e-4 * max(1.0, float(expected.abs().max()))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = hf.load(tmp_path / "theirs")
    found = ours(ids, ids[:, :7]) if two_sided else ours(ids)
    assert (found - expected).abs().max() <= near
    hf.save(ours, tmp_path / "ours")
    eager = {"attn_implementation": "eager"} if family in ("gemma2", "gemma3") else {}
    back = type(theirs).from_pretrained(tmp_path / "ours", **eager).eval()
    assert (answer(back, ids, two_sided) - expected).abs().max() <= near
    if isinstance(ours, Decoder) and not _by_length(ours):
        cache, at, parts = ours.new_cache(), 0, []
        while at < ids.shape[1]:
            step = r.choice([1, 1, 2, 5])
            parts.append(ours(ids[:, at : at + step], cache))
            at += step
        assert (torch.cat(parts, dim=1) - expected).abs().max() <= near


def _by_length(model: Decoder) -> bool:
    """Whether the rotation depends on the length of the text: then a cache keeps keys as they were turned (position.py)."""
    return any(table.by_length for table in model.ropes.values())
