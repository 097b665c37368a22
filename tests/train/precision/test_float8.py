"""8-bit numbers: every rounding as torch's own casts, and a run in them that tracks float32."""

import dataclasses

import pytest
import torch
import world
from torch import nn

from ownlm.errors import ArtifactError, UsageError
from ownlm.train.config import TrainConfig
from ownlm.train.float8 import E4M3, E5M2, HISTORY_STEPS, Float8, rounded, saved_history
from ownlm.train.health.steplog import read
from ownlm.train.loop import train

CASTS = [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)]


@pytest.mark.parametrize("form, dtype", CASTS)
def test_rounding_equals_torchs_cast(form, dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    every = every[every.isfinite()].sort().values
    middles = (every[1:] + every[:-1]) / 2  # ties
    random = torch.Generator().manual_seed(0)
    spread = torch.randn(100_000, generator=random) * 2.0 ** torch.randint(
        -30, 20, (100_000,), generator=random
    )
    x = torch.cat(
        (every, middles, middles.nextafter(torch.tensor(1e9)), middles.nextafter(torch.tensor(-1e9)), spread)
    )
    x = torch.cat((x, torch.tensor([1e-45, -1e-40, 1e-38, 3e38, -3e38, 0.0])))
    assert torch.equal(rounded(x, form), x.clamp(-form.largest, form.largest).to(dtype).float())
    assert torch.equal(rounded(every, form), every)


@pytest.mark.parametrize("form, dtype", CASTS)
def test_too_large_is_saturated_and_what_is_not_finite_stays(form, dtype):
    largest = torch.finfo(dtype).max
    assert rounded(torch.tensor([1e30, -1e30]), form).tolist() == [largest, -largest]
    odd = rounded(torch.tensor([float("inf"), float("-inf"), float("nan")]), form)
    assert odd[:2].tolist() == [float("inf"), float("-inf")] and odd[2].isnan()


def in_blocks(*sizes):
    model = nn.Module()
    model.blocks = nn.Sequential(*(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)))
    return model


def by_torch(t, dtype, scale):
    largest = torch.finfo(dtype).max
    return (t * scale).clamp(-largest, largest).to(dtype).float() / scale


def test_a_layer_multiplies_what_torch_would_round_and_its_gradients_too():
    torch.manual_seed(0)
    model = in_blocks(16, 8)
    layer, state = model.blocks[0], Float8(model)
    x, upstream = torch.randn(4, 6, 16, requires_grad=True), torch.randn(4, 6, 8) * 1e-4
    for _ in range(2):  # the second step scales by what the first one saw
        x.grad = layer.weight.grad = layer.bias.grad = None
        with state.active():
            y = layer(x)
            y.backward(upstream)
        state.end_step()
        sx, sw = (448 / t.detach().abs().max() for t in (x, layer.weight))
        sg = 57344 / upstream.abs().max()
        nx, nw = (
            by_torch(x.detach(), torch.float8_e4m3fn, sx),
            by_torch(layer.weight.detach(), torch.float8_e4m3fn, sw),
        )
        ng = by_torch(upstream, torch.float8_e5m2, sg)
        torch.testing.assert_close(y, nx @ nw.T + layer.bias, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(x.grad, ng @ nw, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(
            layer.weight.grad, ng.flatten(0, 1).T @ nx.flatten(0, 1), rtol=1e-4, atol=1e-8
        )
        torch.testing.assert_close(layer.bias.grad, upstream.sum((0, 1)))
    assert not torch.equal(layer(x), y) and "forward" not in layer.__dict__  # outside nothing is changed


def test_the_scale_is_of_the_largest_value_of_the_last_16_steps():
    model = in_blocks(4, 4)
    state = Float8(model, margin=1)
    x = torch.ones(1, 4)
    for step in range(HISTORY_STEPS + 2):
        with state.active():
            model.blocks[0](x * (100.0 if step == 1 else 2.0)).sum().backward()
        state.end_step()
        expected = 448 / 2 / (100.0 if 1 <= step < HISTORY_STEPS + 1 else 2.0)
        assert state.scales()[0, 0].item() == pytest.approx(expected), step
    with state.active():
        model.blocks[0](x * 1e6)
    state.forget_step()
    with state.active():
        model.blocks[0](x * float("inf"))
    state.end_step()
    assert state.scales()[0, 0].item() == pytest.approx(
        112
    )  # neither a step not trained nor infinity leaves a trace


def losses(folder, told=None, stop_after=None, **changes):
    found, model = [], world.model()
    for record in train(
        model, world.batches(), world.settings(**changes), folder, (told if told is not None else []).append
    ):
        found.append(record.loss)
        if len(found) == stop_after:
            break
    return found, model


def test_a_run_tracks_float32_without_being_it_and_logs_its_scales(tmp_path):
    plain, _ = losses(tmp_path / "plain")
    told = []
    narrow, model = losses(
        tmp_path / "narrow", told, precision="float8", compile=True, gradient_steps=4, checkpoint_steps=6
    )
    assert narrow != plain and max(abs(a - b) for a, b in zip(plain, narrow, strict=True)) < 0.03
    assert any("float8: asked for" in text and "eager" in text for text in told)
    assert model.state_dict().keys() == world.model().state_dict().keys()
    rows = read(tmp_path / "narrow" / "float8.jsonl")
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["scales"]["blocks.1.feed_forward.down"]["gradient"] > 57344  # gradients are small
    kept = saved_history(tmp_path / "narrow" / "checkpoints" / "step-000012")
    assert len(kept) == 14 and len(kept["blocks.0.mixer.q"][0]) == HISTORY_STEPS
    assert kept["blocks.0.mixer.q"][0][-12:] == pytest.approx(kept["blocks.0.mixer.k"][0][-12:])  # one input
    with pytest.raises(ArtifactError, match="no float8 history"):
        saved_history(tmp_path / "plain" / "checkpoints" / "step-000012")


def test_a_resumed_run_ends_in_the_same_bits_and_needs_the_history(tmp_path, monkeypatch):
    whole = losses(tmp_path / "whole", precision="float8")[1]
    losses(tmp_path / "cut", stop_after=7, precision="float8", checkpoint_steps=5)
    again = losses(tmp_path / "cut", precision="float8")[1]
    assert world.weights_digest(again) == world.weights_digest(whole)
    losses(tmp_path / "lost", stop_after=7, precision="float8", checkpoint_steps=5)
    monkeypatch.setattr(Float8, "load", lambda self, state: None)
    assert world.weights_digest(losses(tmp_path / "lost", precision="float8")[1]) != world.weights_digest(
        whole
    )


def test_pieces_and_recomputation_change_nothing(tmp_path):
    first, _ = losses(tmp_path / "a", precision="float8", num_steps=3)
    second, _ = losses(tmp_path / "b", precision="float8", num_steps=3, recompute="blocks")
    assert first == second


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="no linear layer"):
        Float8(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="weights = bfloat16"):
        TrainConfig(num_steps=1, precision="float8", weights="bfloat16")
    state = Float8(in_blocks(4, 4))
    with pytest.raises(ArtifactError):
        state.load(Float8(in_blocks(4, 4, 4)).state())
    assert dataclasses.is_dataclass(E4M3)
