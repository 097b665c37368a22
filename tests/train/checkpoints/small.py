"""Checkpoints small enough to be written thousands of times; every part says of which step it is."""

from __future__ import annotations

import torch

from ownlm.train.checkpoint import Checkpoint


def state(step: int, size: int = 15) -> Checkpoint:
    tensors = {"a": torch.full((size,), float(step)), "b": torch.arange(7) + step}
    return Checkpoint(
        step, {"num_steps": 9}, tensors, {"m": torch.ones(size) * step}, {"history": torch.zeros(step, 4)}
    )


def whole(found: Checkpoint) -> int:
    """The step of a checkpoint, after checking that all of its parts are of that step."""
    assert (found.model["a"] == found.step).all()
    assert torch.equal(found.model["b"], torch.arange(7) + found.step)
    assert (found.optimizer["m"] == found.step).all()
    assert len(found.run["history"]) == found.step
    return found.step
