"""Muon against a plain reading by the SVD, Newton-Schulz against what it should find, torch's Muon beside it."""

import pytest
import torch
from walk import named, set_gradients

from ownlm.errors import UsageError
from ownlm.train.optimizers.muon import FOUR, MARGIN, SCALE, THREE, Muon, orthogonalise, orthogonalise_blocks
from ownlm.train.optimizers.optimizer import split

JORDAN = ((3.4445, -4.7750, 2.0315),) * 5


def chain(values, quintics):
    for a, b, c in quintics:
        values = a * values + b * values**3 + c * values**5
    return values


def by_svd(matrix, quintics):
    """The same function of the singular values, in float64: no matrix product is shared with the real one."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u * (SCALE * chain(MARGIN * s / s.pow(8).sum().pow(1 / 8), quintics))) @ v


def test_muon_batched_over_shapes_equals_the_plain_reference():
    ours = named((16, 16), (48, 16), (16, 16), (16, 48), (48, 16))
    plain = [w.detach().double() for _, w in ours]
    buffers = [torch.zeros_like(w) for w in plain]
    mine = Muon(ours, weight_decay=0.1)
    for step in range(8):
        set_gradients(ours, step)
        for i, (_, w) in enumerate(ours):
            buffers[i] = 0.95 * buffers[i] + 0.05 * w.grad.double()
            direction = by_svd(0.05 * w.grad.double() + 0.95 * buffers[i], FOUR)
            plain[i] = (1 - 0.02 * 0.1) * plain[i] - 0.02 * max(1, w.shape[0] / w.shape[1]) ** 0.5 * direction
        mine.step(0.02)
        for a, (_, b) in zip(plain, ours, strict=True):
            torch.testing.assert_close(a.float(), b.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quintics, lowest", [(THREE, 0.0095), (FOUR, 0.0025)])
def test_the_quintics_bring_everything_from_their_lowest_value_on_near_one(quintics, lowest):
    found = SCALE * chain(torch.linspace(lowest, 1.0, 200_001, dtype=torch.float64), quintics)
    assert found.min() > 0.64 and found.max() < 1.2
    beside = chain(torch.linspace(lowest, 1.0, 200_001, dtype=torch.float64), JORDAN[: len(quintics)])
    assert beside.min() < found.min() * 0.6, "as many of the usual steps leave the low ones behind"


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 64, 160), (2, 160, 64), (1, 256, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quintics, condition", [(THREE, 70), (FOUR, 250)])
def test_newton_schulz_makes_singular_values_near_one_and_keeps_the_directions(
    shape, dtype, quintics, condition
):
    if dtype == torch.bfloat16:  # its rounding alone moves the lowest singular values
        condition = 40
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    x = u @ torch.diag_embed(s.clamp(min=float(s.max()) / condition)) @ v
    for size in (1.0, 1e-6, 1e4):
        result = orthogonalise((size * x).to(dtype), quintics).float()
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6 and values.max() < 1.3
        # the nearest orthogonal matrix is u v; the spread allows 0.97
        assert (result * (u @ v)).sum() / (result.norm() * (u @ v).norm()) > 0.965


def test_extreme_matrices_stay_finite_and_bounded():
    one = torch.outer(torch.arange(1.0, 33), torch.arange(1.0, 17))[None]  # rank 1
    for x in (torch.zeros(1, 8, 4), one, one * 1e-12, torch.eye(16)[None], torch.full((1, 5, 9), 1e12)):
        for dtype in (torch.float32, torch.bfloat16):
            result = orthogonalise(x.to(dtype))
            assert result.isfinite().all() and torch.linalg.matrix_norm(result.float(), 2).max() < 1.3
    assert torch.equal(orthogonalise(torch.zeros(1, 8, 4)), torch.zeros(1, 8, 4))


def test_its_step_points_where_torchs_does():
    ours, theirs = named((32, 96)), named((32, 96))
    before = ours[0][1].detach().clone()
    mine = Muon(ours, weight_decay=0.0)
    oracle = torch.optim.Muon([theirs[0][1]], lr=0.02, weight_decay=0.0)
    for parameters in (ours, theirs):
        set_gradients(parameters, 0)
    mine.step(0.02)
    oracle.step()
    a, b = ours[0][1].detach() - before, theirs[0][1].detach() - before
    assert (a * b).sum() / (
        a.norm() * b.norm()
    ) > 0.93  # both near u v, each within its own band; torch's in bfloat16
    assert a.norm() / b.norm() == pytest.approx(1.0, abs=0.2)


def test_blocks_are_orthogonalised_by_themselves_and_every_row_keeps_its_length():
    x = torch.randn(2, 48, 64, generator=torch.Generator().manual_seed(2))
    found = orthogonalise_blocks(x, 16)
    for g in range(2):
        for start in range(0, 48, 16):
            expected = orthogonalise(x[g : g + 1, start : start + 16], THREE)[0]
            torch.testing.assert_close(found[g, start : start + 16], expected, rtol=1e-4, atol=1e-5)
    odd = orthogonalise_blocks(x[:, :40], 16)  # 40 rows: the last block is filled up
    torch.testing.assert_close(odd[:, :32], found[:, :32], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(odd[:, 32:], orthogonalise(x[:, 32:40], THREE), rtol=1e-3, atol=1e-4)
    tall = torch.randn(1, 192, 64, generator=torch.Generator().manual_seed(3))
    whole, blocks = 3**0.5 * orthogonalise(tall).norm(), orthogonalise_blocks(tall, 16).norm()
    assert blocks / whole == pytest.approx(1.0, abs=0.15)  # the same rate serves both


def test_whole_matrices_come_round_every_so_many_steps():
    def walk(**options):
        parameters = named((32, 32))
        optimizer = Muon(parameters, **options)
        for step in range(4):
            set_gradients(parameters, step)
            optimizer.step(0.02)
        return parameters[0][1].detach()

    whole, blocks = walk(block_rows=None), walk(block_rows=8)
    assert torch.equal(walk(block_rows=8, full_every=1), whole)
    mixed = walk(block_rows=8, full_every=4)
    assert not torch.equal(mixed, whole) and not torch.equal(mixed, blocks)
    with pytest.raises(UsageError, match="block_rows"):
        walk(block_rows=0)


def test_split_gives_muon_the_block_matrices_and_adamw_the_rest():
    from world import model

    hidden, rest = split(model())
    assert all(name.startswith("blocks.") and weight.ndim == 2 for name, weight in hidden)
    assert len(hidden) == 2 * 7  # q k v o gate up down
    assert {name for name, weight in rest if weight.ndim == 2} == {"embedding.weight"}
    assert len(hidden) + len(rest) == len(list(model().parameters()))


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
