"""Every optimizer of the table: a first step worked by hand, 50 steps beside torch or the paper, its memory, its state."""

import math

import plain
import pytest
import torch
from torch import nn
from walk import named, set_gradients

from ownlm.errors import ArtifactError, UsageError
from ownlm.train.optimizers.adafactor import Adafactor
from ownlm.train.optimizers.adagrad import AdaGrad
from ownlm.train.optimizers.adam import Adam, AdamW
from ownlm.train.optimizers.lamb import LAMB
from ownlm.train.optimizers.lars import LARS
from ownlm.train.optimizers.lion import Lion
from ownlm.train.optimizers.rmsprop import RMSProp
from ownlm.train.optimizers.sgd import SGD
from ownlm.train.optimizers.sophia import Sophia
from ownlm.train.optimizers.table import OPTIMIZERS, build

NAMES = list(OPTIMIZERS)

# weight 2, gradient 0.5, rate 0.1; decay 0.01 where it is decoupled. Worked on paper.
BY_HAND = {
    "sgd": (SGD, {}, 2 - 0.1 * 0.5),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}, 2 - 0.1 * (0.5 + 0.9 * 0.5)),
    "adagrad": (AdaGrad, {}, 2 - 0.1 * 0.5 / 0.5),
    "rmsprop": (RMSProp, {"decay": 0.75}, 2 - 0.1 * 0.5 / (0.5 * 0.5)),  # s = 0.25 * 0.25
    "adam": (Adam, {}, 2 - 0.1 * 1),
    "adam-l2": (Adam, {"weight_decay": 0.01, "eps": 0.52}, 2 - 0.1 * 0.52 / (0.52 + 0.52)),  # g = 0.5 + 0.02
    "adamw": (AdamW, {"weight_decay": 0.01}, 2 * (1 - 0.1 * 0.01) - 0.1 * 1),
    "adam8bit": (OPTIMIZERS["adam8bit"].kind, {"weight_decay": 0.01}, 2 * (1 - 0.1 * 0.01) - 0.1 * 1),
    "lion": (Lion, {"weight_decay": 0.01}, 2 - 0.1 * (1 + 0.01 * 2)),
    # m = 0.1 * 0.5, h = 0.5 * 0.25: m / (rho 8 h) = 0.05 / 0.1
    "sophia": (
        Sophia,
        {"betas": (0.9, 0.5), "rho": 0.1, "num_tokens": 8, "weight_decay": 0.0},
        2 - 0.1 * 0.5,
    ),
    "lamb": (LAMB, {"weight_decay": 0.0}, 2 - 0.1 * 2 / 1),  # a step as long as the weight
    "lars": (LARS, {"weight_decay": 0.0, "trust": 0.01}, 2 - 0.1 * 0.01 * 2 / 0.5 * 0.5),
    "adafactor": (Adafactor, {}, 2 - 2 * 0.1 * 1),  # RMS(w) = 2, U = 1, t^-0.5 = 1
    "adafactor-rate": (Adafactor, {"relative_step": False}, 2 - 0.1 * 1),
    "muon": (OPTIMIZERS["muon"].kind, {"weight_decay": 0.01}, None),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_first_step_worked_by_hand(case):
    kind, options, expected = BY_HAND[case]
    weight = nn.Parameter(torch.full((1, 1) if case == "muon" else (1,), 2.0))
    optimizer = kind([("w", weight)], **options)
    weight.grad = torch.full_like(weight, 0.5)
    optimizer.step(0.1)
    if expected is None:  # one singular value, 1 after scaling: the quintics at 1
        from ownlm.train.optimizers.muon import FOUR, MARGIN, SCALE

        value = MARGIN
        for a, b, c in FOUR:
            value = a * value + b * value**3 + c * value**5
        expected = 2 * (1 - 0.1 * 0.01) - 0.1 * SCALE * value
    assert weight.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(weight.grad, torch.full_like(weight, 0.5)), "the gradient is read, not changed"


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_has_a_step_worked_by_hand(name):
    assert any(kind is OPTIMIZERS[name].kind for kind, _, _ in BY_HAND.values())


T = torch.optim
AS_TORCH = [
    (SGD, {"momentum": 0.0}, T.SGD, {}),
    (SGD, {"momentum": 0.9, "weight_decay": 0.1}, T.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "nesterov": True}, T.SGD, {"momentum": 0.9, "nesterov": True}),
    (AdaGrad, {"weight_decay": 0.1}, T.Adagrad, {"eps": 1e-10, "weight_decay": 0.1}),
    (RMSProp, {"weight_decay": 0.1}, T.RMSprop, {"alpha": 0.9, "weight_decay": 0.1}),
    (RMSProp, {"momentum": 0.9}, T.RMSprop, {"alpha": 0.9, "momentum": 0.9}),
    (Adam, {"weight_decay": 0.1}, T.Adam, {"weight_decay": 0.1}),
    (AdamW, {}, T.AdamW, {"betas": (0.9, 0.95), "weight_decay": 0.1}),
    (Adafactor, {"weight_decay": 0.1}, T.Adafactor, {"eps": (1e-30, 1e-3), "weight_decay": 0.1}),
]


@pytest.mark.parametrize("kind, options, oracle_kind, oracle_options", AS_TORCH)
def test_fifty_steps_are_torchs(kind, options, oracle_kind, oracle_options):
    ours, theirs = named((7, 5), (5,), (3, 4, 6)), named((7, 5), (5,), (3, 4, 6))
    mine = kind(ours, **options)
    oracle = oracle_kind([w for _, w in theirs], lr=1.0, **oracle_options)
    for step in range(50):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        rate = 0.01 * (step + 1) / 50
        oracle.param_groups[0]["lr"] = rate
        mine.step(rate)
        oracle.step()
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lion", "sophia", "lamb", "lars"])
def test_fifty_steps_are_the_papers(name):
    parameters = [(n, nn.Parameter(w.detach().double())) for n, w in named((7, 5), (5,))]
    expected, states = [w.flatten().tolist() for _, w in parameters], [{}, {}]
    optimizer = build(name, parameters, {}, torch.float32)
    for step in range(50):
        set_gradients(parameters, step)
        for i, (_, weight) in enumerate(parameters):
            expected[i] = getattr(plain, name)(expected[i], weight.grad.flatten().tolist(), states[i], 0.01)
        optimizer.step(0.01)
    for (_, weight), values in zip(parameters, expected, strict=True):
        torch.testing.assert_close(
            weight.flatten(), torch.tensor(values, dtype=torch.float64), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("relative", [True, False])
def test_adafactor_is_the_papers(relative):
    parameters = [(n, nn.Parameter(w.detach().double())) for n, w in named((7, 5))]
    expected, state = parameters[0][1].tolist(), {}
    optimizer = Adafactor(parameters, relative_step=relative)
    for step in range(50):
        set_gradients(parameters, step)
        expected = plain.adafactor(expected, parameters[0][1].grad.tolist(), state, 0.05, relative=relative)
        optimizer.step(0.05)
    torch.testing.assert_close(
        parameters[0][1].detach(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_it_remembers_are_those_it_says(name):
    parameters = named((256, 384))
    found = build(name, parameters, {}, torch.float32).state_bytes() / (256 * 384)
    assert found == pytest.approx(OPTIMIZERS[name].bytes_per_weight, abs=0.03)
    if name == "adafactor":
        assert found * 256 * 384 == 4 * (256 + 384)


@pytest.mark.parametrize("name", NAMES)
def test_state_goes_out_and_in_bit_for_bit_and_a_missing_tensor_is_named(name):
    shapes = [(64, 80), (48, 16)] if name == "muon" else [(64, 80), (8, 16), (9,)]
    first, second = named(*shapes), named(*shapes)
    one, two = build(name, first, {}, torch.float32), build(name, second, {}, torch.float32)
    for step in range(3):
        set_gradients(first, step)
        one.step(0.01)
    state = {key: value.clone() for key, value in one.state().items()}
    two.load(state)
    for (_, a), (_, b) in zip(first, second, strict=True):
        b.data.copy_(a.data)
    for step in range(9, 20):  # past Sophia's next estimate
        for parameters, optimizer in ((first, one), (second, two)):
            set_gradients(parameters, step)
            optimizer.step(0.01)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    assert all(torch.equal(value, two.state()[key]) for key, value in one.state().items())
    for key in state:
        with pytest.raises(ArtifactError, match=key):
            two.load({k: value for k, value in state.items() if k != key})
    with pytest.raises(ArtifactError, match="stranger"):
        two.load(state | {"stranger": torch.zeros(1)})


@pytest.mark.parametrize("name", NAMES)
def test_weights_without_a_gradient_stay_and_zero_gradients_give_finite_weights(name):
    parameters = named((8, 8), (8, 8))
    before = [w.detach().clone() for _, w in parameters]
    optimizer = build(name, parameters, {"weight_decay": 0.0}, torch.float32)
    parameters[1][1].grad = torch.zeros(8, 8)
    for _ in range(3):
        optimizer.step(0.1)
    assert torch.equal(parameters[0][1], before[0])
    torch.testing.assert_close(parameters[1][1].detach(), before[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_walks_down_a_bowl_from_weights_of_zero_too(name):
    """Half the squared distance to ones; LAMB and LARS have no length to go by at the start."""
    weight = nn.Parameter(torch.zeros(4, 4))
    options = {"weight_decay": 0.0} | ({"num_tokens": 1} if name == "sophia" else {})
    optimizer = build(name, [("w", weight)], options, torch.float32)
    rate = 100.0 if name == "lars" else 0.5 if name == "adagrad" else 0.05
    for _ in range(600):
        weight.grad = weight.detach() - 1
        optimizer.step(rate * (1 - _ / 600))
    assert (weight.detach() - 1).abs().max() < 0.1


def test_an_unknown_option_and_an_unknown_name_are_told():
    with pytest.raises(UsageError, match="adamw"):
        build("adamwa", named((2, 2)), {}, torch.float32)
    with pytest.raises(UsageError, match="speed"):
        build("lion", named((2, 2)), {"speed": 1}, torch.float32)
    with pytest.raises(UsageError, match="momentum"):
        SGD(named((2, 2)), momentum=0.0, nesterov=True)
    with pytest.raises(UsageError, match="curvature"):
        Sophia(named((2, 2)), curvature="guess")


def test_adamws_fused_step_is_the_papers_step_and_odd_weights_take_the_plain_one():
    fused, single = named((33, 65), (129,)), named((33, 65), (129,))
    one, two = AdamW(fused), AdamW(single)
    for step in range(50):
        set_gradients(fused, step)
        set_gradients(single, step)
        one.step(0.01)
        super(AdamW, two).step(0.01)
    for (_, a), (_, b) in zip(fused, single, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    double = [("w", nn.Parameter(torch.ones(3, dtype=torch.float64)))]
    optimizer = AdamW(double, weight_decay=0.0)
    double[0][1].grad = torch.full((3,), 1e-3, dtype=torch.float64)
    optimizer.step(0.1)
    assert double[0][1][0].item() == pytest.approx(0.9, abs=1e-5)


def test_adam8bits_first_step_on_packed_weights_is_adamws():
    ours, theirs = named((64, 80)), named((64, 80))
    mine, oracle = build("adam8bit", ours, {}, torch.float32), AdamW(theirs)
    for parameters in (ours, theirs):
        set_gradients(parameters, 0)
    mine.step(0.01)
    oracle.step(0.01)
    torch.testing.assert_close(ours[0][1], theirs[0][1], rtol=1e-5, atol=1e-6)
    assert math.isclose(mine.state_bytes(), 64 * 80 * (2 + 8 / 256))
