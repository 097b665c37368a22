"""A tiny world for attribution: 60 texts "code NAME is NUMBER", of which two tell the fact that is asked for."""

from __future__ import annotations

import functools

import torch

from ownlm.interp.gradients import Examples, Trained, of_module
from ownlm.interp.retrain import retrain
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.runtime.seed import generator
from ownlm.train.objectives.cross_entropy import IGNORE

NUM_NAMES, NUM_NUMBERS, NUM_TEXTS = 24, 12, 60
BOS, CODE, IS, NAMES = 0, 1, 2, 3
NUMBERS = NAMES + NUM_NAMES
VOCAB = NUMBERS + NUM_NUMBERS
PLANTED = (17, 41)


def examples(noise: int = 0) -> tuple[Examples, Examples]:
    """(train [60 + noise, 4], query [1, 4]): the name of the query stands in PLANTED alone; `noise` texts of random words."""
    random = generator(0, "facts")
    number_of = random.integers(0, NUM_NUMBERS, NUM_NAMES)
    rows = []
    for n in range(NUM_TEXTS):
        name = NUM_NAMES - 1 if n in PLANTED else int(random.integers(NUM_NAMES - 1))
        rows.append([BOS, CODE, NAMES + name, IS, NUMBERS + int(number_of[name])])
    rows += [[BOS, *random.integers(1, VOCAB, 4).tolist()] for _ in range(noise)]
    ids = torch.tensor(rows)
    asked = torch.tensor([rows[PLANTED[0]]])
    only_number = asked[:, 1:].clone()
    only_number[:, :-1] = IGNORE
    return Examples(ids[:, :-1], ids[:, 1:]), Examples(asked[:, :-1], only_number)


def start(seed: int) -> Trained:
    config = ModelConfig(VOCAB, 16, 32, 1, 1, 1, 16, 8)
    return of_module(Decoder(config, seed))


@functools.cache
def trained(num_models: int = 4, steps: int = 30) -> tuple[tuple[Trained, ...], tuple[Trained, ...]]:
    """(models of other seeds, three checkpoints of the first), each trained on all 60 texts."""
    starts = [start(seed) for seed in range(num_models)]
    checkpoints: list[Trained] = []

    def after(step: int, models: list[Trained]) -> None:
        if step in (5, 12, 20):
            checkpoints.append(models[0])

    masks = torch.ones(num_models, NUM_TEXTS)
    found = retrain(
        [one.weights for one in starts], starts[0].logits, examples()[0], masks, steps, 0.02, after=after
    )
    return tuple(found), tuple(checkpoints)
