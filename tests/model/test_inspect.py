"""What `ownlm model` shows is what the module is: counts, shapes, operations; the size table; isotropy."""

import math

import pytest
import torch

from ownlm.errors import DataError
from ownlm.model import inspect
from ownlm.model.adapters.families.table import FAMILIES
from ownlm.model.decoder import Decoder
from ownlm.model.isotropy import draw, isotropy
from ownlm.model.presets import tiny
from ownlm.model.published import PUBLISHED, SIZES
from ownlm.model.sizes import row, table


def test_components_and_trace_are_the_modules() -> None:
    model = Decoder(tiny())
    parts = inspect.components(model)
    assert sum(part.parameters for part in parts) == model.num_parameters()
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    q = next(part for part in parts if part.name == "blocks.*.mixer.q")
    assert (q.count, q.parameters) == (2, 2 * 64 * 64)
    calls = inspect.trace(model, torch.zeros(1, 7, dtype=torch.int64))
    shapes = {call.name: call.shape for call in calls}
    assert shapes["blocks.1.feed_forward.gate"] == (1, 7, 192) and shapes["embedding"] == (1, 7, 64)
    assert not model._forward_hooks and not model.blocks[0]._forward_hooks, "hooks are taken away again"
    folded = inspect.folded(calls)
    assert sum(number for _, number in folded) == len(calls)
    assert next(n for call, n in folded if call.name == "blocks.0.mixer.q") == 2


def test_costs_follow_the_formulas() -> None:
    model = Decoder(tiny())
    (cost,) = inspect.context_costs(model, [100], 2)
    assert cost.cache_bytes == 100 * 2 * 2 * 2 * 16 * 2
    ids = torch.zeros(1, 32, dtype=torch.int64)
    assert inspect.measured_flops(model, ids) == 32 * inspect.context_costs(model, [32], 4)[0].flops_per_token


def test_a_configuration_is_shown_with_equal_layers_once() -> None:
    shown = inspect.plain(Decoder(tiny()).architecture)
    assert shown["layers"]["times"] == 2 if isinstance(shown["layers"], dict) else len(shown["layers"]) <= 2
    assert shown["family"] == "llama"


SLOW = {"deepseek-v3"}  # 45,000 modules


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in sorted(PUBLISHED)]
)
def test_published_sizes(name: str) -> None:
    """By formula, by module (without memory), and as the owners say."""
    if PUBLISHED[name]["model_type"] not in FAMILIES:
        pytest.fail(f"no family reads {PUBLISHED[name]['model_type']}")
    found = row(name, count_module=True)
    assert found.parameters == found.module_parameters
    assert found.parameters == pytest.approx(SIZES[name], rel=0.025)


def test_the_table_says_what_is_active_and_what_grows() -> None:
    mixtral, mamba, llama = row("mixtral-8x7b"), row("mamba-130m"), row("llama-3.1-70b")
    assert mixtral.active_parameters == pytest.approx(
        12.9e9, rel=0.02
    ) and mixtral.parameters == pytest.approx(46.7e9, rel=0.01)
    assert mamba.cache_bytes_per_token == 0
    assert llama.cache_bytes_per_token == 2 * 80 * 8 * 128 * 2
    text = table([mixtral, mamba])
    assert "constant" in text and "46,702,792,704" in text


def test_even_directions_are_isotropic_and_a_cone_is_not() -> None:
    even = torch.randn(3000, 64, generator=torch.Generator().manual_seed(0))
    found = isotropy(even, 20_000)
    assert (
        abs(found.mean) < 0.01 and found.std == pytest.approx(1 / 8, rel=0.05) and found.expected_std == 1 / 8
    )
    assert sum(found.counts) == 20_000
    cone = isotropy(even + 2.0, 20_000)
    assert cone.mean == pytest.approx(4 / 5, abs=0.02), "E[cos] = m^2 / (m^2 + 1)"
    assert isotropy(even, 1000, seed=1) == isotropy(even, 1000, seed=1)
    even[:10] = 0
    assert isotropy(even).num_zero_rows == 10


def test_isotropy_draws_and_refuses(tmp_path) -> None:
    found = isotropy(torch.eye(5), 100)
    assert found.mean == 0 and math.isclose(found.edges[0], -1)
    draw(found, tmp_path / "cosines.png", "unit vectors")
    assert (tmp_path / "cosines.png").read_bytes().startswith(b"\x89PNG")
    for table_ in (torch.zeros(4, 3), torch.full((4, 3), float("nan")), torch.ones(3)):
        with pytest.raises(DataError):
            isotropy(table_)
