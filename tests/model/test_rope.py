"""Rotary scalings: naive float64 formulas from the papers, transformers' own functions, and what must hold anyway."""

import math
from typing import Any

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.architecture import Architecture
from ownlm.model.attention.grouped import GroupedQuery
from ownlm.model.blocks import Layer
from ownlm.model.decoder import Decoder
from ownlm.model.layers import FeedForward
from ownlm.model.position import (
    NTK,
    DynamicNTK,
    Linear,
    Llama3,
    LongRope,
    Rope,
    RotaryTable,
    Yarn,
    frequencies,
    rotate,
)

POSITIONS = 200


def naive_yarn(i: int, dims: int, theta: float, s: Yarn) -> float:
    """arXiv:2309.00071, section 3.2, with the ramp over features as in its code."""

    def feature(turns: float) -> float:
        return dims * math.log(s.trained_positions / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = feature(s.beta_fast), feature(s.beta_slow)
    if s.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    high += 0.001 if high == low else 0
    interpolated = min(max((i - low) / (high - low), 0.0), 1.0)
    wave = theta ** (-2 * i / dims)
    return interpolated * wave / s.factor + (1 - interpolated) * wave


def naive_llama3(wave: float, s: Llama3) -> float:
    length = 2 * math.pi / wave
    if length < s.trained_positions / s.high_freq_factor:
        return wave
    if length > s.trained_positions / s.low_freq_factor:
        return wave / s.factor
    smooth = (s.trained_positions / length - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
    return (1 - smooth) * wave / s.factor + smooth * wave


def naive(rope: Rope, dims: int, length: int) -> list[float]:
    """The frequencies in float64."""
    found, s = [], rope.scaling
    for i in range(dims // 2):
        wave = rope.theta ** (-2 * i / dims)
        match s:
            case Linear():
                wave /= s.factor
            case NTK():
                wave = (rope.theta * s.factor ** (dims / (dims - 2))) ** (-2 * i / dims)
            case DynamicNTK():
                factor = s.factor * max(length, s.trained_positions) / s.trained_positions - (s.factor - 1)
                wave = (rope.theta * factor ** (dims / (dims - 2))) ** (-2 * i / dims)
            case Yarn():
                wave = naive_yarn(i, dims, rope.theta, s)
            case LongRope():
                wave /= (s.long_factor if length > s.trained_positions else s.short_factor)[i]
            case Llama3():
                wave = naive_llama3(wave, s)
        found.append(wave)
    return found


SHORT, LONG = (1.0, 1.2, 1.5, 2.0, 3.0), (2.0, 3.0, 5.0, 9.0, 20.0)
SCALINGS = {
    "none": None,
    "linear": Linear(2.7),
    "ntk": NTK(5.0),
    "dynamic": DynamicNTK(3.0, 50),
    "yarn": Yarn(7.0, 50),
    "yarn-odd": Yarn(3.5, 77, beta_fast=9.0, beta_slow=0.3, truncate=False),
    "yarn-mscale": Yarn(12.0, 33, mscale=0.6, mscale_all_dim=1.7),
    "longrope": LongRope(SHORT, LONG, 50, 1.3),
    "llama3": Llama3(8.0, 1.0, 4.0, 60),
    "llama3-odd": Llama3(3.3, 0.7, 9.0, 150),
}


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("theta", [10000.0, 37.0])
@pytest.mark.parametrize("length", [50, 51, POSITIONS])
def test_rotation_equals_the_formula(name: str, theta: float, length: int) -> None:
    """Cosines and sines of every position against float64; in float32 the angle of position p is off by p * 2^-24."""
    rope = Rope(theta, scaling=SCALINGS[name])
    table = RotaryTable(rope, 10, POSITIONS)
    cos, sin = table(torch.arange(length)[None])
    waves = torch.tensor(naive(rope, 10, length), dtype=torch.float64)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * waves
    magnitude = table.magnitude
    torch.testing.assert_close(cos[0, 0, :, :5].double(), angle.cos() * magnitude, rtol=0, atol=1e-4)
    torch.testing.assert_close(sin[0, 0, :, 5:].double(), angle.sin() * magnitude, rtol=0, atol=1e-4)
    torch.testing.assert_close(sin[0, 0, :, :5], -sin[0, 0, :, 5:])
    torch.testing.assert_close(
        frequencies(rope, 10, torch.tensor([length])).reshape(-1).double(), waves, rtol=2e-6, atol=0
    )


def settings_of(s: Any) -> dict[str, Any]:
    match s:
        case Linear():
            return {"rope_type": "linear", "factor": s.factor}
        case DynamicNTK():
            return {"rope_type": "dynamic", "factor": s.factor}
        case Yarn():
            more = {
                "mscale": s.mscale,
                "mscale_all_dim": s.mscale_all_dim,
                "attention_factor": s.attention_factor,
            }
            return {"rope_type": "yarn", "factor": s.factor, "beta_fast": s.beta_fast, "beta_slow": s.beta_slow, "truncate": s.truncate,
                    "original_max_position_embeddings": s.trained_positions} | {k: v for k, v in more.items() if v is not None}  # fmt: skip
        case LongRope():
            return {"rope_type": "longrope", "short_factor": list(s.short_factor), "long_factor": list(s.long_factor),
                    "original_max_position_embeddings": s.trained_positions, "attention_factor": s.attention_factor}  # fmt: skip
    return {"rope_type": "llama3", "factor": s.factor, "low_freq_factor": s.low_freq_factor, "high_freq_factor": s.high_freq_factor,
            "original_max_position_embeddings": s.trained_positions}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in SCALINGS if n not in ("none", "ntk")])
def test_frequencies_equal_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    s, generator = SCALINGS[name], torch.Generator().manual_seed(0)
    assert s is not None
    for theta, length in ((10000.0, 40), (123.4, 51), (5e5, 180), *((float(10 + 1e5 * torch.rand((), generator=generator)), 70) for _ in range(5))):  # fmt: skip
        settings = settings_of(s)
        config = transformers.LlamaConfig(hidden_size=40, num_attention_heads=4, head_dim=10, max_position_embeddings=50,
                                          rope_parameters=settings | {"rope_theta": theta})  # fmt: skip
        theirs, magnitude = ROPE_INIT_FUNCTIONS[settings["rope_type"]](config, "cpu", seq_len=length)
        torch.testing.assert_close(
            frequencies(Rope(theta, scaling=s), 10, torch.tensor([length])).reshape(-1),
            theirs,
            rtol=1e-6,
            atol=0,
        )
        assert math.isclose(s.magnitude(), magnitude, rel_tol=1e-9)


@pytest.mark.parametrize("name", ["dynamic", "longrope"])
def test_rows_of_different_length_do_not_disturb_each_other(name: str) -> None:
    table = RotaryTable(Rope(scaling=SCALINGS[name]), 10, POSITIONS)
    together = table(torch.tensor([[7], [120]]))
    for row, position in enumerate((7, 120)):
        for both, alone in zip(together, table(torch.tensor([[position]])), strict=True):
            assert torch.equal(both[row], alone[0])


def test_interleaved_pairs_are_a_permutation_of_halves() -> None:
    x = torch.randn(1, 2, 9, 14, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(9)[None]
    order = torch.tensor([0, 2, 4, 6, 8, 1, 3, 5, 7, 9])  # of the ten rotated features
    halves = rotate(
        torch.cat((x[..., order], x[..., 10:]), -1), *RotaryTable(Rope(dims=10), 14, 9)(positions)
    )
    pairs = rotate(x, *RotaryTable(Rope(dims=10, interleaved=True), 14, 9)(positions), interleaved=True)
    torch.testing.assert_close(torch.cat((pairs[..., order], pairs[..., 10:]), -1), halves)
    for p in range(9):  # the paper: neighbours turn by p * theta ** (-2i / R)
        for i in range(5):
            angle = p * 10000.0 ** (-2 * i / 10)
            a, b = x[0, 0, p, 2 * i].item(), x[0, 0, p, 2 * i + 1].item()
            wanted = (a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle))
            torch.testing.assert_close(
                pairs[0, 0, p, 2 * i : 2 * i + 2], torch.tensor(wanted), rtol=0, atol=1e-5
            )


@pytest.mark.parametrize("name", SCALINGS)
def test_scores_depend_on_distance_alone(name: str) -> None:
    """Turned q at p and k at p - 3 have one dot product wherever p stands."""
    table = RotaryTable(Rope(scaling=SCALINGS[name]), 10, POSITIONS)
    cos, sin = table(torch.arange(50)[None])
    q, k = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    turned_q, turned_k = rotate(q.expand(1, 1, 50, 10), cos, sin), rotate(k.expand(1, 1, 50, 10), cos, sin)
    scores = (turned_q[0, 0, 3:] * turned_k[0, 0, :-3]).sum(-1)
    torch.testing.assert_close(scores, scores[:1].expand_as(scores), rtol=0, atol=1e-4)


def decoder(rope: Rope, max_positions: int = 16) -> Decoder:
    return Decoder(
        Architecture(97, 32, (Layer(GroupedQuery(4, 2, 8, rope), FeedForward(48)),) * 2, max_positions)
    )


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [(None, 16), (Linear(2.5), 40), (NTK(2.0), 32), (Yarn(4.0, 16), 64), (Yarn(1.0, 8), 16)],
)
def test_how_far_a_rotation_reaches(scaling: Any, longest: int) -> None:
    model = decoder(Rope(scaling=scaling))
    assert model(torch.zeros(1, longest, dtype=torch.long)).shape == (1, longest, 97)
    with pytest.raises(UsageError, match=f"{longest + 1} > {longest}"):
        model(torch.zeros(1, longest + 1, dtype=torch.long))


def test_a_cache_keeps_keys_as_they_were_turned_and_that_is_the_only_difference() -> None:
    """DynamicNTK: decoding equals the whole text up to the trained length, not beyond."""
    model, ids = decoder(Rope(scaling=DynamicNTK(4.0, 16))), torch.arange(24)[None]
    cache = model.new_cache()
    with torch.no_grad():
        found = torch.cat([model(token, cache) for token in ids.split(1, dim=1)], dim=1)
        torch.testing.assert_close(found[:, :16], model(ids[:, :16]))
        assert (found[:, -1] - model(ids)[:, -1]).abs().max() > 1e-5


@pytest.mark.parametrize("rope", [Rope(dims=12), Rope(dims=11), Rope(scaling=LongRope((1.0,), (2.0,), 8))])
def test_impossible_rotations_are_refused(rope: Rope) -> None:
    with pytest.raises(UsageError):
        RotaryTable(rope, 10, 16)
    with pytest.raises(UsageError):
        RotaryTable(Rope(), 7, 16)
