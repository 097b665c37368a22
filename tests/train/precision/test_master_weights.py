"""16-bit weights with a float32 copy: small updates are not lost, a run tracks float32, a resume is exact."""

import pytest
import torch
import world
from safetensors.torch import load_file
from torch import nn

from ownlm.errors import UsageError
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.master_weights import MasterWeights
from ownlm.train.optimizers.optimizer import Optimizer


class Descent(Optimizer):
    """w <- w - rate * gradient, nothing else."""

    def slots_of(self, weight):
        return {}

    def update(self, weight, gradient, slots, learning_rate):
        weight.add_(gradient, alpha=-learning_rate)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tiny_updates_add_up_in_the_copy_and_are_lost_without_it(dtype):
    model = nn.Linear(4, 4, bias=False)
    model.weight.data.fill_(1.0)
    optimizer = Descent(list(model.named_parameters()))
    master = MasterWeights(model, dtype)
    alone = torch.ones(4, 4, dtype=dtype)
    for _ in range(1000):
        model.weight.grad = torch.ones(4, 4)
        master.before_update()
        optimizer.step(1e-4)
        master.after_update()
        alone -= 1e-4
    assert (alone == 1).all() and model.weight.dtype == dtype
    torch.testing.assert_close(model.weight.float(), torch.full((4, 4), 0.9), rtol=4e-3, atol=0)


def test_gradients_of_many_pieces_add_up_in_float32():
    model = nn.Linear(4, 1, bias=False)
    MasterWeights(model, torch.bfloat16)
    for _ in range(1000):
        model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
    assert (
        model.weight.grad.dtype == torch.float32 and (model.weight.grad == 1000).all()
    )  # bfloat16 would stop at 256


def test_a_weight_in_two_places_stays_one():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    MasterWeights(model, torch.bfloat16)
    assert model[0].weight is model[1].weight and model[0].weight.dtype == torch.bfloat16
    assert len(list(model.parameters())) == 1


def run(folder, stop_after=None, model=None, **changes):
    model, found = model or world.model(), []
    for record in train(model, world.batches(), world.settings(**changes), folder, lambda text: None):
        found.append(record.loss)
        if len(found) == stop_after:
            break
    return model, found


def test_a_run_tracks_float32_and_resumes_in_the_same_bits(tmp_path):
    plain, expected = run(tmp_path / "plain")
    narrow = {"weights": "bfloat16", "precision": "auto"}
    whole, losses = run(tmp_path / "whole", **narrow)
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 0.05 and losses != expected
    assert all(weight.dtype == torch.bfloat16 for weight in whole.parameters())
    assert whole.state_dict().keys() == plain.state_dict().keys()
    run(tmp_path / "cut", stop_after=7, checkpoint_steps=5, **narrow)
    again, rest = run(tmp_path / "cut", **narrow)
    assert rest == losses[5:]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))
    saved = load_file(tmp_path / "whole" / "checkpoints" / "step-000012" / "run.safetensors")
    copy = saved["master.embedding.weight"]
    assert copy.dtype == torch.float32 and torch.equal(copy.bfloat16(), whole.embedding.weight)
    assert not torch.equal(copy, copy.bfloat16().float())
    run(tmp_path / "second", model=whole, num_steps=2, **narrow)  # a model in 16 bits can be trained on


def test_half_of_it_is_refused():
    with pytest.raises(UsageError, match="weights = bfloat16 cannot be multiplied in precision = float32"):
        TrainConfig(num_steps=1, precision="float32", weights="bfloat16")
