"""What must hold for every composition that the model room can build, whoever wrote its parts.

Each tests/model/examples_*.py gives `EXAMPLES: dict[str, Architecture]`, tiny ones (V 97, D 32, at most 64 positions).
`NOT_CAUSAL`, `NO_CACHE` in such a file name those of its examples for which a property is not claimed, with the reason;
`NO_GRADIENT` the part of a parameter's path that a loss of its own trains.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.model.architecture import Architecture
from ownlm.model.decoder import Decoder

FILES = sorted(Path(__file__).parent.glob("examples_*.py"))


def _collect(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in FILES:
        part = importlib.import_module(f"{__package__}.{file.stem}" if __package__ else file.stem)
        entries = getattr(part, name, {})
        assert not set(entries) & set(found), f"{file.name} repeats a name of another file"
        found |= entries
    return found


EXAMPLES: dict[str, Architecture] = _collect("EXAMPLES")
NOT_CAUSAL: dict[str, str] = _collect("NOT_CAUSAL")
NO_CACHE: dict[str, str] = _collect("NO_CACHE")
NO_GRADIENT: dict[str, str] = _collect("NO_GRADIENT")

every = pytest.mark.parametrize("name", sorted(EXAMPLES))


def build(name: str) -> Decoder:
    """With noise in every parameter: zero biases and unit norms would hide what they do."""
    model = Decoder(EXAMPLES[name], seed=1)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=noise)
    return model.eval()


def ids_of(batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 97, (batch, time), generator=torch.Generator().manual_seed(seed))


@every
def test_a_later_token_changes_nothing_before_it(name: str) -> None:
    if name in NOT_CAUSAL:
        pytest.skip(NOT_CAUSAL[name])
    model, ids = build(name), ids_of(2, 29)
    changed = ids.clone()
    changed[:, 17] = (changed[:, 17] + 1) % 97
    with torch.no_grad():
        a, b = model(ids), model(changed)
    assert torch.isfinite(a).all()
    torch.testing.assert_close(a[:, :17], b[:, :17], rtol=0, atol=1e-5)
    assert (a[:, 17] - b[:, 17]).abs().amax(-1).min() > 1e-4, "the changed token itself must matter"


@every
@pytest.mark.parametrize("chunks", [[1] * 29, [13, 1, 1, 9, 5], [29]], ids=["tokens", "chunks", "whole"])
def test_the_cached_path_equals_the_parallel_one(name: str, chunks: list[int]) -> None:
    if name in NO_CACHE:
        pytest.skip(NO_CACHE[name])
    model, ids = build(name), ids_of(2, 29)
    cache = model.new_cache()
    with torch.no_grad():
        expected = model(ids)
        parts, at = [], 0
        for size in chunks:
            parts.append(model(ids[:, at : at + size], cache))
            at += size
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-4, atol=1e-4)


@every
def test_rows_of_a_batch_do_not_see_each_other(name: str) -> None:
    model, ids = build(name), ids_of(3, 20)
    with torch.no_grad():
        together, alone = model(ids), model(ids[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@every
def test_the_counts_are_the_modules(name: str) -> None:
    model = Decoder(EXAMPLES[name])
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    parts = dict(EXAMPLES[name].components())
    assert sum(parts.values()) == model.num_parameters()
    for part, number in parts.items():
        if part.endswith((".mixer", ".feed_forward")):
            assert number == sum(p.numel() for p in model.get_submodule(part).parameters()), part


@every
def test_the_cache_grows_as_the_formula_says(name: str) -> None:
    if name in NO_CACHE:
        pytest.skip(NO_CACHE[name])
    model = build(name)
    cache = model.new_cache()
    sizes = []
    with torch.no_grad():
        for at in range(40):
            model(ids_of(1, 1, at), cache)
            sizes.append(cache.num_bytes)
    growth = [b - a for a, b in zip(sizes, sizes[1:], strict=False)]
    assert max(growth) <= model.cache_bytes_per_token(4), "bytes per token"
    if not any(EXAMPLES[name].windows()):
        assert sum(growth) == 39 * model.cache_bytes_per_token(4)


@every
def test_gradients_reach_every_parameter(name: str) -> None:
    model, ids = build(name), ids_of(2, 24)
    model(ids).square().mean().backward()
    for path, weight in model.named_parameters():
        if name in NO_GRADIENT and NO_GRADIENT[name] in path:
            assert weight.grad is None, path
            continue
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), path
        assert weight.grad.abs().max() > 0 or path.endswith("k.bias"), f"{path} gets no gradient"


@every
def test_one_batch_overfits(name: str) -> None:
    torch.manual_seed(0)
    model, ids = Decoder(EXAMPLES[name], seed=1), ids_of(2, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = last = 0.0
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        last = float(loss.detach())
        first = first or last
    assert last < 0.2 * first, f"{first:.2f} -> {last:.2f}"


@every
def test_bf16_weights_stay_near(name: str) -> None:
    model, ids = build(name), ids_of(1, 20)
    with torch.no_grad():
        expected = model(ids)
        found = model.to(torch.bfloat16)(ids)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.12 * expected.abs().max() + 0.05


@every
def test_hooks_see_and_change(name: str) -> None:
    from ownlm.model.hooks import hooked, points

    model, ids = build(name), ids_of(1, 12)
    seen: dict[str, torch.Tensor] = {}
    watched = {p: shape for p, shape in points(model).items() if shape}
    with torch.no_grad():
        expected = model(ids)
        with hooked(model, {p: lambda x, p=p: seen.__setitem__(p, x) for p in watched}):
            torch.testing.assert_close(model(ids), expected, rtol=1e-4, atol=1e-5)
        assert {"blocks.0.residual_in", "blocks.1.residual_out"} <= set(seen)
        for point, value in seen.items():
            assert value.ndim == len(watched[point].split()), (
                f"{point} {tuple(value.shape)}: {watched[point]}"
            )
        with hooked(model, {"blocks.1.residual_out": torch.zeros_like}):
            assert not torch.allclose(model(ids), expected, atol=1e-3)
        assert torch.equal(model(ids), model(ids)) and torch.allclose(model(ids), expected, atol=1e-5)
