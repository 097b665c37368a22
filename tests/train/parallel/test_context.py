"""Ring attention on two processes against torch's on whole sequences, and training on it."""

from __future__ import annotations

import grid
import pytest
import torch

from ownlm.errors import UsageError
from ownlm.train.parallel.context import Ring, order


def test_ring_attention_is_attention_forward_and_backward() -> None:
    for found in grid.fast()["layer cp"]:
        assert len(found) == 12
        assert max(found.values()) <= 1e-5, found


@pytest.mark.parametrize("case", ["cp", "cp window"])
def test_training_on_parts_of_sequences_is_training_on_the_whole(case: str) -> None:
    for found in grid.fast()[case]:
        assert found["loss"] <= 1e-5 and found["norm"] <= 1e-5 and found.get("weights", 0.0) <= 1e-5, found


@pytest.mark.parametrize("p", [1, 2, 3, 4, 8])
def test_every_token_is_somewhere_once_and_the_work_is_even(p: int) -> None:
    parts = [order(48, p, rank) for rank in range(p)]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(48))
    work = []
    for rank in range(p):
        ring = Ring.__new__(Ring)
        ring.p, ring.rank, ring.window = p, rank, None
        work.append([len(ring.pairs((rank - turn) % p)) for turn in range(p)])
    assert work == [[3] + [2] * (p - 1)] * p  # of which two are half masked in a process's own round
    # In queries times keys: the same for all.
    assert len({sum(int(position) + 1 for position in part) for part in parts}) == 1


def test_a_sequence_that_cannot_be_cut() -> None:
    with pytest.raises(UsageError) as caught:
        order(30, 2, 0)
    assert "28 or 32" in caught.value.fix


def test_what_context_parallelism_refuses() -> None:
    refused = grid.fast()["refused"][0]
    assert "capped" in refused["softcap"] and "documents" in refused["extra"]
