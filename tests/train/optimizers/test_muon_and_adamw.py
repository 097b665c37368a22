"""AdamW against torch's, Muon against a plain reading of the paper, Newton-Schulz against the SVD."""

import pytest
import torch
from torch import nn

from ownlm.errors import ArtifactError
from ownlm.train.optimizers.adam import AdamW
from ownlm.train.optimizers.clip import clip_gradients
from ownlm.train.optimizers.muon import Muon, orthogonalise
from ownlm.train.optimizers.optimizer import split


def named(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        (f"w{i}", nn.Parameter(torch.randn(shape, generator=generator))) for i, shape in enumerate(shapes)
    ]


def set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(100 + step)
    for _, weight in parameters:
        weight.grad = torch.randn(weight.shape, generator=generator)


def test_adamw_walks_the_same_path_as_torch():
    ours, theirs = named((7, 5), (5,)), named((7, 5), (5,))
    mine = AdamW(ours, weight_decay=0.1, eps=1e-8)
    oracle = torch.optim.AdamW([w for _, w in theirs], lr=1.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(50):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        rate = 0.01 * (step + 1) / 50
        oracle.param_groups[0]["lr"] = rate
        mine.step(rate)
        oracle.step()
        for (_, a), (_, b) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def plain_muon_step(weight, buffer, gradient, rate, decay, momentum=0.95):
    """Jordan's post, one matrix, written as it stands there."""
    buffer.mul_(momentum).add_(gradient, alpha=1 - momentum)
    x = gradient * (1 - momentum) + buffer * momentum
    flipped = x.shape[0] > x.shape[1]
    x = x.T if flipped else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        b = -4.7750 * a + 2.0315 * a @ a
        x = 3.4445 * x + b @ x
    x = x.T if flipped else x
    weight.mul_(1 - rate * decay)
    weight.add_(x, alpha=-rate * max(1, weight.shape[0] / weight.shape[1]) ** 0.5)


def test_muon_batched_over_shapes_equals_the_plain_reference():
    ours = named((16, 16), (48, 16), (16, 16), (16, 48), (48, 16))
    plain = [w.detach().clone() for _, w in ours]
    buffers = [torch.zeros_like(w) for w in plain]
    mine = Muon(ours, weight_decay=0.1)
    for step in range(8):
        set_gradients(ours, step)
        for weight, buffer, (_, w) in zip(plain, buffers, ours, strict=True):
            plain_muon_step(weight, buffer, w.grad.clone(), 0.02, 0.1)
        mine.step(0.02)
        for a, (_, b) in zip(plain, ours, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 64, 160), (2, 160, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_newton_schulz_makes_singular_values_near_one_and_keeps_the_directions(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    x = u @ torch.diag_embed(s.clamp(min=float(s.max()) / 100)) @ v  # condition number at most 100
    result = orthogonalise(x.to(dtype)).float()
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    assert (result * (u @ v)).sum() / (
        result.norm() * (u @ v).norm()
    ) > 0.98  # nearest orthogonal matrix: u v


def test_split_gives_muon_the_block_matrices_and_adamw_the_rest():
    from world import model

    hidden, rest = split(model())
    assert all(name.startswith("blocks.") and weight.ndim == 2 for name, weight in hidden)
    assert len(hidden) == 2 * 7  # q k v o gate up down
    assert {name for name, weight in rest if weight.ndim == 2} == {"embedding.weight"}
    assert len(hidden) + len(rest) == len(list(model().parameters()))


def test_clipping_scales_the_global_norm_as_torch_does():
    ours, theirs = named((7, 5), (5,)), named((7, 5), (5,))
    for largest in (0.5, 100.0):
        set_gradients(ours, 0)
        set_gradients(theirs, 0)
        norm = clip_gradients([w for _, w in ours], largest)
        expected = nn.utils.clip_grad_norm_([w for _, w in theirs], largest)
        assert norm == pytest.approx(float(expected), rel=1e-6)
        for (_, a), (_, b) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_state_goes_out_and_in_bit_for_bit_and_a_missing_tensor_is_named(make):
    first, second = named((8, 8), (8, 16)), named((8, 8), (8, 16))
    one, two = make(first), make(second)
    for step in range(3):
        set_gradients(first, step)
        one.step(0.01)
    state = {name: value.clone() for name, value in one.state().items()}
    two.load(state)
    for (_, a), (_, b) in zip(first, second, strict=True):
        b.data.copy_(a.data)
    for parameters, optimizer in ((first, one), (second, two)):
        set_gradients(parameters, 9)
        optimizer.step(0.01)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    for name in state:
        with pytest.raises(ArtifactError, match=name):
            two.load({key: value for key, value in state.items() if key != name})
    with pytest.raises(ArtifactError, match="stranger"):
        two.load(state | {"stranger": torch.zeros(1)})


def test_tables_of_a_state_space_are_no_matrices() -> None:
    from ownlm.model.architecture import Architecture
    from ownlm.model.blocks import Layer
    from ownlm.model.decoder import Decoder
    from ownlm.model.ssm.mamba import Mamba

    hidden, rest = split(Decoder(Architecture(64, 16, (Layer(Mamba(32)),), 64)))
    assert {name.rpartition("mixer.")[2] for name, _ in hidden} == {
        "up.weight",
        "gate.weight",
        "select.weight",
        "dt.weight",
        "o.weight",
    }
    assert {"blocks.0.mixer.A_log", "blocks.0.mixer.conv.weight"} <= {name for name, _ in rest}
