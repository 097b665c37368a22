"""muP: rates and first weights as in the paper's table, through the loop, and what it is for: an update whose effect
does not grow with the width."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.ladder import mup
from ownlm.train.loop import train
from ownlm.train.setup import groups_of

BASE = 32


def model(width: int, tied: bool = False) -> Decoder:
    return Decoder(ModelConfig(vocab_size=64, hidden_size=width, intermediate_size=3 * width, num_layers=2, num_heads=width // 16,
                               num_kv_heads=width // 16, head_dim=16, max_positions=32, tie_embeddings=tied,
                               initializer_range=BASE**-0.5), 0)  # fmt: skip


def settings(rate: float, **changes: object) -> TrainConfig:
    return TrainConfig(num_steps=4, optimizer="adamw", learning_rate=rate, schedule="constant", warmup_steps=0, clip=None, compile=False,
                       precision="float32", threads=1, weight_decay=0.0, checkpoint_seconds=1e9, **changes)  # type: ignore[arg-type]  # fmt: skip


def test_every_weight_has_the_rate_of_the_table() -> None:
    trained = model(128)
    groups = groups_of(trained, settings(0.01, base_width=BASE), "float32")
    rates = {name: group.learning_rate for group in groups for name, _ in group.optimizer.parameters}
    assert rates.keys() == dict(trained.named_parameters()).keys()
    for name, rate in rates.items():
        wide = name == "output.weight" or (name.startswith("blocks.") and trained.get_parameter(name).ndim == 2)  # fmt: skip
        assert rate == pytest.approx(0.01 / 4 if wide else 0.01), name


def test_at_the_base_width_nothing_changes(tmp_path: Path) -> None:
    ids = torch.arange(128).reshape(4, 32) * 7 % 64
    batch = Batch(ids, (ids + 1) % 64)
    losses = []
    for number, base in enumerate((None, BASE)):
        trained = model(BASE)
        if base is not None:
            mup.initialize(trained, base)
        run = train(trained, lambda step: batch, settings(0.01, base_width=base), tmp_path / str(number), lambda told: None)  # fmt: skip
        losses.append([record.loss for record in run])
    assert losses[0] == losses[1]


def movement(width: int, base: int | None, tmp_path: Path) -> float:
    """Root mean square change of the logits by four steps (the paper's coordinate check, appendix D.1)."""
    trained = model(width)
    if base is not None:
        mup.initialize(trained, base)
    else:
        mup.initialize_standard(trained, BASE)
    ids = torch.randint(0, 64, (8, 32), generator=torch.Generator().manual_seed(0))
    before = trained(ids).detach()
    batch = Batch(ids, (ids * 5 + 1) % 64)
    for _ in train(trained, lambda step: batch, settings(0.004, base_width=base), tmp_path / f"{width}{base}", lambda told: None):  # fmt: skip
        pass
    return float((trained(ids).detach() - before).square().mean().sqrt())


def test_an_update_moves_the_logits_alike_at_every_width(tmp_path: Path) -> None:
    ours = [movement(width, BASE, tmp_path) for width in (64, 192)]
    standard = [movement(width, None, tmp_path) for width in (64, 192)]
    assert 0.6 < ours[1] / ours[0] < 1.3
    assert standard[1] / standard[0] > 1.3, "the standard one grows with the width"


def test_what_it_is_not_for_is_refused() -> None:
    with pytest.raises(UsageError, match="output layer"):
        mup.initialize(model(64, tied=True), BASE)
    with pytest.raises(UsageError, match="Adam"):
        groups_of(model(64), TrainConfig(num_steps=1, optimizer="muon", base_width=BASE), "float32")
