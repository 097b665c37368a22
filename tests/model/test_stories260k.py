"""A real trained model: llama2.c's stories260K, converted here, gives the published continuation.

Its file holds interleaved rotary pairs; ours are halves, so the rows of q and k are permuted.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder

ROOT = (
    Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
    / "model_stories260k"
)


def stories260k() -> Decoder:
    if not ROOT.is_dir():
        pytest.skip(f"no test data at {ROOT} (set OWNLM_TEST_DATA)")
    raw = (ROOT / "stories260K.bin").read_bytes()
    dim, ffn, layers, heads, kv, vocab, context = np.frombuffer(raw, "<i4", 7).tolist()
    config = ModelConfig(vocab, dim, ffn, layers, heads, kv, dim // heads, context)
    numbers, at = np.frombuffer(raw, "<f4", offset=28), 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return torch.from_numpy(numbers[at - size : at].reshape(shape).copy())

    def halves(weight: torch.Tensor, count: int) -> torch.Tensor:  # row (2i, 2i+1) of a head -> (i, i + C/2)
        return (
            weight.view(layers, count, config.head_dim // 2, 2, dim).transpose(2, 3).reshape(layers, -1, dim)
        )

    kv_dim = kv * config.head_dim
    state = {"embedding.weight": take(vocab, dim)}
    parts = {"mixer_norm": take(layers, dim)}
    parts["mixer.q"] = halves(take(layers, dim, dim), heads)
    parts["mixer.k"] = halves(take(layers, kv_dim, dim), kv)
    parts["mixer.v"], parts["mixer.o"] = take(layers, kv_dim, dim), take(layers, dim, dim)
    parts["feed_forward_norm"] = take(layers, dim)
    parts["feed_forward.gate"], parts["feed_forward.down"] = take(layers, ffn, dim), take(layers, dim, ffn)
    parts["feed_forward.up"] = take(layers, ffn, dim)
    state["norm.weight"] = take(dim)
    state |= {f"blocks.{i}.{name}.weight": stack[i] for name, stack in parts.items() for i in range(layers)}
    model = Decoder(config)
    model.load_state_dict(state)
    return model


def test_published_continuation_and_logits() -> None:
    model = stories260k()
    expected = json.loads((ROOT / "expected.json").read_text())
    ids = torch.tensor([[1]])
    with torch.no_grad():
        first = model(ids)[0, 0].double()
        assert (first - torch.tensor(expected["logits_after_bos"], dtype=torch.float64)).abs().max() < 1e-4
        for _ in range(64):
            ids = torch.cat((ids, model(ids)[:, -1:].argmax(-1)), dim=1)
        log_prob = model(ids[:, :-1]).double().log_softmax(-1).gather(-1, ids[:, 1:, None]).sum()
    assert ids[0, 1:].tolist() == expected["greedy_64"]
    assert abs(float(log_prob) - expected["sum_logprob_greedy_64"]) < 1e-3
