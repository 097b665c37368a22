"""The planner of layouts: the known example is listed, what it lists fits, and its speed is that of a published run."""

from __future__ import annotations

import dataclasses

import pytest

from ownlm.errors import UsageError
from ownlm.model.architecture import llama
from ownlm.model.config import ModelConfig
from ownlm.plan.layouts import GPUS, MEMORY_SHARE, SHAPES, Cluster, Split, layouts, predict, splits

GPT3, LLAMA = SHAPES["175b"], SHAPES["7b"]


def test_gpt3_on_1024_gpus_lists_the_known_layout() -> None:
    found = [row.split for row in layouts(GPT3, Cluster(1024, "a100-80"), 1536)]
    assert (8, 8, 16, 1) in {(s.dp, s.tp, s.pp, s.cp) for s in found}
    assert len(found) == len({(s.dp, s.tp, s.pp, s.cp) for s in found})


def test_what_is_listed_divides_and_fits_and_is_sorted() -> None:
    cluster = Cluster(64)
    rows = layouts(LLAMA, cluster, 1024)
    for row in rows:
        s = row.split
        assert s.dp * s.tp * s.pp * s.cp == 64
        assert 1024 % (s.dp * s.micro_rows) == 0 and 32 % (s.pp * s.chunks) == 0 and 32 % s.tp == 0
        assert row.memory <= MEMORY_SHARE * GPUS["h100-80"].memory
        assert 0 < row.mfu < 0.68 and 0 <= row.bubble < 1 and 0 <= row.communication < 1
    assert [row.step_seconds for row in rows] == sorted(row.step_seconds for row in rows)


def test_parameters_and_operations_are_the_models() -> None:
    """Against the decoder's own count, whose only further numbers are the norms."""
    s = dataclasses.replace(LLAMA, num_layers=3, num_kv_heads=8)
    built = llama(ModelConfig(s.vocab_size, s.hidden_size, s.intermediate_size, 3, s.num_heads, 8, s.head_dim, s.context,
                              tie_embeddings=False))  # fmt: skip
    assert s.parameters + (2 * 3 + 1) * s.hidden_size == built.num_parameters()
    assert s.flops_per_token == built.flops_per_token(s.context)
    assert SHAPES["7b"].parameters == pytest.approx(6.738e9, rel=1e-3)
    assert SHAPES["175b"].parameters == pytest.approx(174.6e9, rel=1e-2)


def test_the_speed_of_a_published_run() -> None:
    """Narayanan et al. 2021, table 1: 153 TFLOP/s per GPU, a quarter of which are the recomputed forward passes."""
    split = Split(4, 8, 12, 1, 1, 1, "full", 0, cut_vocabulary=True)
    row = predict(GPT3, Cluster(384, "a100-80", network=25e9), split, 1536)
    assert row.mfu * 312 == pytest.approx(153 * 3 / 4, rel=0.25)
    assert row.memory < 80e9


def test_each_way_to_save_memory_saves_it() -> None:
    cluster = Cluster(64)
    plain = predict(LLAMA, cluster, Split(64, 1, 1, 1, 2), 1024)
    for zero in (1, 2, 3):
        shared = predict(LLAMA, cluster, Split(64, 1, 1, 1, 2, 1, "none", zero), 1024)
        assert shared.weights < plain.weights
        plain = dataclasses.replace(plain, weights=shared.weights)
    none, attention, full = (
        predict(LLAMA, cluster, Split(64, 1, 1, 1, 2, 1, how), 1024) for how in ("none", "attention", "full")
    )  # type: ignore[arg-type]
    assert none.activations > attention.activations > full.activations
    assert none.step_seconds < attention.step_seconds < full.step_seconds
    assert full.mfu < none.mfu  # what is recomputed is no merit


def test_the_bubble_and_the_tensor_messages_cost_time() -> None:
    cluster = Cluster(64)
    narrow, wide = (predict(LLAMA, cluster, Split(dp, 1, pp, 1, 1), 64 * 4) for dp, pp in ((64, 1), (8, 8)))
    assert wide.bubble == pytest.approx(7 / (32 + 7)) and narrow.bubble == 0
    far = predict(
        LLAMA, Cluster(64, gpus_per_node=4), Split(8, 8, 1, 1, 1), 256
    )  # a matrix over two machines
    assert far.communication > predict(LLAMA, cluster, Split(8, 8, 1, 1, 1), 256).communication


def test_what_does_not_fit_says_what_came_closest() -> None:
    with pytest.raises(UsageError) as caught:
        layouts(GPT3, Cluster(8), 64)
    assert "GB" in caught.value.values and "8 GPUs" in caught.value.what
    with pytest.raises(UsageError, match="not known"):
        Cluster(8, "h9000")
    with pytest.raises(UsageError) as caught:
        layouts(LLAMA, Cluster(7), 3)
    assert "divides" in caught.value.values or "GB" in caught.value.values


def test_only_what_the_package_can_run_is_marked_so() -> None:
    assert Split(8, 8, 16, 1, 1).runs_here and Split(64, 1, 1, 1, 1, zero=3).runs_here
    assert (
        not Split(8, 8, 16, 1, 1, zero=1).runs_here
        and not Split(1, 8, 1, 1, 1, cut_vocabulary=True).runs_here
    )
    assert all(s.tp <= 8 for s in splits(LLAMA, Cluster(64), 64))
