"""A tiny world for the train tests: `python world.py FOLDER JSON` trains in it and prints the weights' SHA-256."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.train.batches import ShardBatches
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

CONTEXT, ROWS = 64, 4


def model(seed: int = 1) -> Decoder:
    config = ModelConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_layers=2, num_heads=4, num_kv_heads=2,
        head_dim=16, max_positions=CONTEXT,
    )  # fmt: skip
    return Decoder(config, seed)


def batches(seed: int = 3) -> ShardBatches:
    """Text with something to learn: each token is a fixed function of the one before, with noise."""
    random = np.random.default_rng(0)
    tokens = np.zeros(6000, dtype=np.uint16)
    for i in range(1, len(tokens)):
        tokens[i] = (tokens[i - 1] * 5 + 7) % 512 if random.random() < 0.8 else random.integers(512)
    return ShardBatches(tokens, CONTEXT, ROWS, seed)


def settings(**changes: object) -> TrainConfig:
    few = {"num_steps": 12, "micro_tokens": 2 * CONTEXT, "checkpoint_seconds": 1e9, "precision": "float32",
           "compile": False, "threads": 1}  # fmt: skip
    return TrainConfig(**(few | changes))  # type: ignore[arg-type]


def weights_digest(trained: Decoder) -> str:
    digest = hashlib.sha256()
    for name, weight in trained.state_dict().items():
        digest.update(name.encode() + weight.numpy().tobytes())
    return digest.hexdigest()


def losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    world = model()
    for record in train(world, batches(), settings(**json.loads(sys.argv[2])), Path(sys.argv[1])):
        print("step", record.step, flush=True)
    assert torch.isfinite(world.embedding.weight).all()
    print("digest", weights_digest(world), flush=True)
