"""Noise is found, and what is kept is enough."""

import pytest
import torch
from facts import VOCAB, examples, start

from ownlm.errors import UsageError
from ownlm.interp import pruning
from ownlm.interp.gradients import losses
from ownlm.interp.retrain import retrain


def test_keep_by_hand() -> None:
    scores = torch.tensor([0.0, 3.0, 1.0, 2.0])
    assert pruning.keep(scores, 0.5, "highest").tolist() == [False, True, False, True]
    assert pruning.keep(scores, 0.5, "lowest").tolist() == [True, False, True, False]
    assert pruning.keep(scores, 0.5, "middle").tolist() == [False, False, True, True]
    assert pruning.keep(torch.zeros(4), 0.5, "lowest").tolist() == [True, True, False, False]
    for wrong in (lambda: pruning.keep(scores, 0.0), lambda: pruning.keep(scores * torch.nan, 0.5)):
        with pytest.raises(UsageError):
            wrong()


def test_el2n_is_the_length_of_the_error() -> None:
    train, _ = examples()
    model = start(0)
    p = model.logits(model.weights, train.inputs[0]).softmax(1)
    expected = (p - torch.nn.functional.one_hot(train.targets[0], VOCAB)).norm(dim=1).mean()
    torch.testing.assert_close(pruning.el2n([model], train)[0], expected)


def test_planted_noise_is_pruned_and_the_loss_stays() -> None:
    """15 of 75 texts are random words: the loss of a half-trained model finds them, and the model without them is
    better on clean text although it saw a fifth less."""
    train, _ = examples(noise=15)
    clean, _ = examples()
    first = start(0)
    (early,) = retrain([first.weights], first.logits, train, torch.ones(1, len(train)), 20, 0.02)
    kept = pruning.keep(pruning.loss_per_token(early, train), 0.8, "lowest")
    assert int(kept[-15:].sum()) <= 1
    random = torch.ones(len(train), dtype=torch.bool)
    random[::5] = False  # as many, chosen blindly
    masks = torch.stack([kept, random, torch.ones(len(train), dtype=torch.bool)])
    models = retrain([first.weights], first.logits, train, masks, 60, 0.02)
    pruned, blind, whole = (float(losses(model, clean).mean()) for model in models)
    assert pruned < min(blind, whole)
