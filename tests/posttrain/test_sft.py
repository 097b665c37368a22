"""Conversations to batches: only the assistant's words are trained on, padding and neighbours change nothing."""

import numpy as np
import pytest
import torch

from ownlm.errors import DataError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.posttrain.sft import conversation_batches
from ownlm.records import Message, Passage
from ownlm.tokenizer import bpe
from ownlm.tokenizer.chat import encode_chat
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train
from ownlm.train.objectives.cross_entropy import IGNORE

WORDS = [
    "the",
    "list",
    "returns",
    "a",
    "new",
    "copy",
    "of",
    "every",
    "item",
    "when",
    "sorted",
    "and",
    "raises",
    "an",
    "error",
    "otherwise",
]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train([" ".join(np.random.default_rng(i).permutation(WORDS)) for i in range(200)], 512)


def passage(text):
    return Passage(1, "d", "json.loads", text, "json.py", "PSF-2.0", 0, len(text))


def conversations(number=40, seed=0):
    random = np.random.default_rng(seed)
    made = []
    for i in range(number):
        text = " ".join(random.choice(WORDS, random.integers(3, 60)))
        answer = " ".join(random.choice(WORDS, random.integers(1, 12)))
        made.append(
            (
                [passage(text)] if i % 3 else [],
                [Message("user", f"what is {i}"), Message("assistant", answer)],
            )
        )
    return made


def test_targets_are_the_assistants_tokens_one_place_ahead_and_nothing_else(tokenizer):
    given = conversations()
    batches = conversation_batches(tokenizer, given, 256, 512, seed=1)
    rows = {}
    for step in range(batches.num_batches):
        batch = batches(step)
        for ids, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            rows[tuple(ids)] = targets
    for documents, messages in given:
        encoded = encode_chat(tokenizer, messages, documents, add_generation_prompt=False)
        ids = encoded.ids[:-1]
        found = next(targets for row, targets in rows.items() if list(row[: len(ids)]) == ids)
        wanted = [i if t else IGNORE for i, t in zip(encoded.ids[1:], encoded.trained[1:], strict=True)]
        assert found[: len(ids)] == wanted and set(found[len(ids) :]) <= {IGNORE}
        words = tokenizer.decode([i for i in wanted if i not in (IGNORE, tokenizer.special_id("<|end|>"))])
        assert words == messages[-1].content
        assert wanted[-1] == tokenizer.special_id("<|end|>")


def test_few_shapes_of_about_the_asked_size_and_every_conversation_once_an_epoch(tokenizer):
    given = conversations(100)
    batches = conversation_batches(tokenizer, given, 256, 512, seed=1)
    shapes, epochs = set(), []
    for epoch in range(2):
        seen = []
        for step in range(epoch * batches.num_batches, (epoch + 1) * batches.num_batches):
            batch = batches(step)
            shapes.add(tuple(batch.inputs.shape))
            used = (batch.targets != IGNORE).any(1)
            seen += [tuple(row) for row in batch.inputs[used].tolist()]
        epochs.append(seen)
    assert sorted(epochs[0]) == sorted(epochs[1]) and len(epochs[0]) == 100 and epochs[0] != epochs[1]
    assert len(shapes) <= 3 and all(b * t <= 512 and t % 64 == 0 for b, t in shapes)
    stats = batches.stats
    lengths = [len(encode_chat(tokenizer, m, d, add_generation_prompt=False).ids) for d, m in given]
    assert (stats.num_used, stats.num_too_long, stats.longest) == (100, 0, max(lengths))
    assert stats.tokens == sum(lengths) - 100 and 0 < stats.padding < 0.5
    assert {t for _, t in shapes} <= set(stats.widths)


def test_batches_are_pure_in_the_step(tokenizer):
    one = conversation_batches(tokenizer, conversations(), 256, 512, seed=1)
    two = conversation_batches(tokenizer, conversations(), 256, 512, seed=1)
    forward = [one(step).inputs for step in range(3 * one.num_batches)]
    for step in reversed(range(3 * one.num_batches)):
        assert torch.equal(two(step).inputs, forward[step])


def test_the_widths_are_the_best_three(tokenizer):
    from itertools import combinations

    from ownlm.posttrain.sft import _widths

    for seed in range(30):
        random = np.random.default_rng(seed)
        lengths = random.integers(1, 64 * random.integers(1, 9), random.integers(1, 40)).tolist()
        top = -(-max(lengths) // 64)

        def places(widths, lengths=lengths):
            return sum(min(w for w in widths if w >= length) for length in lengths)

        choices = [
            c for n in (1, 2, 3) for c in combinations(range(64, 64 * top + 1, 64), n) if c[-1] == 64 * top
        ]
        found = _widths(lengths)
        assert len(found) <= 3 and places(found) == min(map(places, choices))


def test_too_long_ones_are_counted_not_cut_and_none_left_is_an_error(tokenizer):
    given = conversations(30)
    lengths = [len(encode_chat(tokenizer, m, d, add_generation_prompt=False).ids) for d, m in given]
    middle = sorted(lengths)[15]
    batches = conversation_batches(tokenizer, given, middle, 512, seed=1)
    assert batches.stats.num_too_long == sum(length > middle for length in lengths) > 0
    assert batches.stats.num_used == 30 - batches.stats.num_too_long
    with pytest.raises(DataError, match="30 of them longer than the context of 4"):
        conversation_batches(tokenizer, given, 4, 512, seed=1)
    with pytest.raises(DataError, match="0 given"):
        conversation_batches(tokenizer, [], 256, 512, seed=1)


def test_a_conversation_without_a_trained_token_is_an_error_that_names_it(tokenizer):
    given = [*conversations(2), ((), [Message("user", "hello")])]
    with pytest.raises(DataError, match="conversation 3"):
        conversation_batches(tokenizer, given, 256, 512, seed=1)


def decoder(tokenizer):
    return Decoder(ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=64, intermediate_size=128, num_layers=2, num_heads=4,
        num_kv_heads=2, head_dim=16, max_positions=256,
    ))  # fmt: skip


def test_padding_and_neighbours_do_not_reach_a_conversation(tokenizer):
    model = decoder(tokenizer)
    batch = conversation_batches(tokenizer, conversations(), 256, 1024, seed=1)(0)
    together = model(batch.inputs)
    for row in range(len(batch.inputs)):
        length = (
            int((batch.targets[row] != IGNORE).nonzero().max()) + 1
            if (batch.targets[row] != IGNORE).any()
            else 0
        )
        if length:
            alone = model(batch.inputs[row : row + 1, :length])
            torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_the_same_loop_trains_it_and_resumes_it(tokenizer, tmp_path):
    batches = conversation_batches(tokenizer, conversations(20), 256, 512, seed=1)
    config = TrainConfig(num_steps=16, compile=False, precision="float32", threads=1, checkpoint_steps=3,
                         micro_tokens=256)  # fmt: skip
    calm, stormy = decoder(tokenizer), decoder(tokenizer)
    records = list(train(calm, batches, config, tmp_path / "calm", lambda text: None))
    assert records[-1].loss < records[0].loss - 1
    for _ in zip(
        range(7), train(stormy, batches, config, tmp_path / "stormy", lambda text: None), strict=False
    ):
        pass
    stormy = decoder(tokenizer)
    list(train(stormy, batches, config, tmp_path / "stormy", lambda text: None))
    assert all(torch.equal(a, b) for a, b in zip(calm.parameters(), stormy.parameters(), strict=True))
