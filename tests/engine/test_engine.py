"""The engine's promises, one by one. Batches are driven by hand where the order matters."""

import random
import threading
import time
from pathlib import Path

import pytest
import torch
from engine_world import (
    Maze,
    Script,
    asked,
    byte_tokenizer,
    check_slots,
    decided_model,
    engine,
    ids,
    random_request,
    run,
    text,
)

from ownlm.engine.overload import Overloaded
from ownlm.errors import ArtifactError, OwnlmError, RequestError, UsageError
from ownlm.model.adapters import hf
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.records import Message, Passage, Request, Sampling, complete
from ownlm.tokenizer import chat


def test_greedy_equals_transformers_on_the_same_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    e = engine(max_running=6)
    hf.save(e.model, tmp_path, eos_ids=sorted(e.stop_ids), bos_id=256, pad_id=258)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    r = random.Random(0)
    prompts = [[r.randrange(256) for _ in range(n)] for n in (1, 5, 17, 17, 40, 70)]
    found = run(e, *(asked(p, max_tokens=50) for p in prompts))
    for prompt, mine in zip(prompts, found, strict=True):
        expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=50, do_sample=False)[
            0, len(prompt) :
        ].tolist()
        assert mine == expected
    assert len({i for mine in found for i in mine}) > 10, "a model that says one thing proves nothing"


def test_batched_equals_alone_in_100_random_mixes() -> None:
    """Any company, any arrival, chunked prompts, forced runs, drawn or greedy: the tokens stay the same."""
    r = random.Random(7)
    requests = [random_request(r) for _ in range(40)]
    model = decided_model()
    alone = [run(engine(model, max_running=1, forced_runs=False), request)[0] for request in requests]
    assert len({tuple(a) for a in alone}) > 30
    for mix in range(100):
        e = engine(model, max_running=r.randint(2, 6), prefill_tokens=r.choice([8, 32, 512]))
        picked, streams = r.sample(range(40), r.randint(2, 8)), {}
        while len(streams) < len(picked) or e.step():
            if len(streams) < len(picked) and r.random() < 0.5:
                number = picked[len(streams)]
                streams[number] = e.submit(requests[number])
            e.step()
        assert {n: ids(s) for n, s in streams.items()} == {n: alone[n] for n in streams}, f"mix {mix}"


def test_forced_runs_change_the_steps_and_not_the_answer() -> None:
    model, r = decided_model(), random.Random(3)
    saved = 0
    for seed in range(30):
        sampling = Sampling(max_tokens=30, temperature=r.choice([0.0, 1.0]), seed=seed)
        request = Request(prompt_ids=(1, 2, 3), sampling=sampling, constraint=Maze(seed))
        steps, answers = [], []
        for forced in (False, True):
            e = engine(model, forced_runs=forced)
            stream, count = e.submit(request), 0
            while e.step():
                count += 1
            steps.append(count)
            answers.append(ids(stream))
        assert answers[0] == answers[1]
        saved += steps[0] - steps[1]
    assert saved > 300, "the shortcut was not taken"


def test_running_streams_move_every_step_while_a_long_prompt_arrives() -> None:
    e = engine(max_running=16, prefill_tokens=16)
    streams = [e.submit(asked([i, i + 1], max_tokens=60)) for i in range(15)]
    while any(not s.sequence.generated for s in streams):
        e.step()
    late = e.submit(asked(range(100), max_tokens=5))
    steps = 0
    while not late.sequence.generated:
        before = [len(s.sequence.generated) for s in streams]
        e.step()
        steps += 1
        running = [s.sequence for s in streams if not s.sequence.finished]
        assert running and all(
            len(q.generated) > b for q, b in zip([s.sequence for s in streams], before) if q in running
        )
    assert steps == 7, "100 prompt tokens at 16 a step"


def test_16_threads_get_interleaved_answers() -> None:
    e = engine(max_running=16)
    order: list[int] = []

    def read(number: int) -> None:
        for _ in e.generate(
            Request(prompt_ids=(number,), sampling=Sampling(max_tokens=40), constraint=Script(b"ab" * 20))
        ):
            order.append(number)

    e = engine(max_running=16, forced_runs=False)
    threads = [threading.Thread(target=read, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    e.stop()
    first_end = min(len(order) - 1 - order[::-1].index(n) for n in range(16))
    assert sorted(order) == sorted(list(range(16)) * 40)
    assert set(order[: first_end + 1]) == set(range(16)), "one answer ended before another had begun"


def test_closing_a_stream_frees_its_slot_at_the_next_step() -> None:
    e = engine(max_running=2)
    first, second, third = (e.submit(asked([i], max_tokens=100)) for i in (1, 2, 3))
    for _ in range(5):
        e.step()
    assert e.stats()["waiting"] == 1 and e.stats()["slots_free"] == 0
    first.close()
    first.close()
    assert list(first) == []
    e.step()
    check_slots(e)
    assert e.stats()["waiting"] == 0 and third.sequence.slot == 0
    third.close()  # and one more while it runs, one while it waits
    fourth = e.submit(asked([4], max_tokens=3))
    fourth.close()
    while e.step():
        check_slots(e)
    assert e.stats()["slots_free"] == 2 and e.stats()["requests_finished_total"]["abort"] == 3
    assert len(ids(second)) > 5 and fourth.sequence.generated == []


def test_dropping_a_stream_unread_aborts_it() -> None:
    e = engine()
    stream = e.generate(asked([1], max_tokens=120))
    next(stream)
    del stream
    deadline = time.monotonic() + 20
    while e.stats()["slots_free"] < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    e.stop()
    assert e.stats()["slots_free"] == 4


def test_usage_reasons_and_detail() -> None:
    e = engine()
    done = complete(e, asked([1, 2, 3], max_tokens=4))
    e.stop()
    assert (
        done.finish_reason == "length" and done.usage.prompt_tokens == 3 and done.usage.completion_tokens == 4
    )
    assert len(done.token_ids) == 4 and set(done.detail) == {"timings"}
    assert 0 <= done.detail["timings"]["queue_seconds"] <= done.detail["timings"]["ttft_seconds"]
    stats = e.stats()
    assert stats["prompt_tokens_total"] == 3 and stats["generation_tokens_total"] == 4
    assert len(stats["ttft_seconds"]) == 1 and len(stats["inter_token_seconds"]) == 3


def test_a_stop_id_ends_the_answer_and_is_not_in_its_text() -> None:
    e = engine()
    end = e.tokenizer.special_id("<|end|>")

    class Then:
        def allowed(self, generated: list[int]) -> list[int]:
            return [[72], [105], [end]][len(generated)]

    done = complete(e, Request(prompt_ids=(1,), constraint=Then()))
    e.stop()
    assert (done.text, done.token_ids, done.finish_reason) == ("Hi", (72, 105, end), "stop")


@pytest.mark.parametrize("forced", [True, False])
def test_stop_strings_across_tokens_are_never_shown(forced: bool) -> None:
    e = engine(forced_runs=forced)
    said = b"one two STOP three"
    streams = [
        e.submit(
            Request(
                prompt_ids=(1,), sampling=Sampling(max_tokens=len(said), stop=stop), constraint=Script(said)
            )
        )
        for stop in ((" STOP",), ("STOPS", "three!"), ("two", "ne t"))
    ]
    while e.step():
        pass
    chunks = [list(s) for s in streams]
    assert [text(c) for c in chunks] == ["one two", "one two STOP three", "o"]
    assert [c[-1].finish_reason for c in chunks] == ["stop", "length", "stop"]


def test_chunks_never_cut_a_character() -> None:
    said = "naïve 日本語 🎉🏳️‍🌈 ü".encode()
    for cut in range(1, len(said) + 1):
        e = engine(forced_runs=False)
        stream = e.submit(
            Request(prompt_ids=(1,), sampling=Sampling(max_tokens=cut), constraint=Script(said))
        )
        while e.step():
            pass
        chunks = list(stream)
        assert all("\ufffd" not in c.text for c in chunks[:-1])
        assert text(chunks) == said[:cut].decode(errors="replace")
        assert [i for c in chunks for i in c.token_ids] == list(said[:cut])


def test_a_prompt_may_fill_the_context_but_for_one_token_and_nothing_is_cut() -> None:
    e = engine(max_context=32)
    assert len(run(e, asked(range(31), max_tokens=9))[0]) == 1
    assert len(run(e, asked(range(20), max_tokens=50))[0]) == 12
    with pytest.raises(RequestError) as caught:
        e.submit(asked(range(32), max_tokens=9))
    assert caught.value.param == "prompt_ids"
    assert all(
        number in caught.value.values
        for number in ("32 prompt tokens", "max_tokens 9", "context is 32", "at most 31")
    )
    assert e.stats()["slots_free"] == 4 and e.stats()["waiting"] == 0


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request(), "messages"),
        (Request(prompt=""), None),
        (Request(prompt="a", prompt_ids=(1,)), "prompt"),
        (Request(prompt="a", documents=(Passage(1, "d", "t", "x", "s", "l", 0, 1),)), "documents"),
        (Request(prompt="\ud800"), "prompt"),
        (Request(prompt_ids=(1, 320)), "prompt_ids"),
        (Request(prompt_ids=(-1,)), "prompt_ids"),
        (Request(messages=(Message("wizard", "hi"),)), "messages"),  # type: ignore[arg-type]
        (asked([1], max_tokens=0), "max_tokens"),
        (asked([1], temperature=-0.1), "temperature"),
        (asked([1], temperature=float("nan")), "temperature"),
        (asked([1], top_p=0.0), "top_p"),
        (asked([1], top_p=1.1), "top_p"),
        (asked([1], top_k=-1), "top_k"),
        (asked([1], seed=1 << 64), "seed"),
        (asked([1], stop=("",)), "stop"),
        (asked([1], stop=("a",) * 17), "stop"),
    ],
)
def test_a_bad_request_is_refused_before_anything_runs(request_: Request, param: str | None) -> None:
    e = engine()
    if param is None:  # an empty text is BOS alone: a fine prompt
        e.submit(request_)
        return
    with pytest.raises(RequestError) as caught:
        e.submit(request_)
    assert caught.value.param == param and e.stats()["waiting"] == 0


def test_messages_go_through_the_chat_template_and_prompts_begin_with_bos() -> None:
    e = engine(decided_model(context=512))
    passage = Passage(1, "d", "T", "body", "s.txt", "MIT", 0, 4)
    messages = (Message("user", "hi <|end|>"),)
    stream = e.submit(Request(messages=messages, documents=(passage,)))
    assert (
        stream.sequence.prompt
        == chat.encode_chat(e.tokenizer, messages, documents=(passage,), add_generation_prompt=True).ids
    )
    assert e.submit(Request(prompt="ab")).sequence.prompt == [e.tokenizer.special_id("<|bos|>"), 97, 98]


def test_a_full_queue_says_when_to_come_back() -> None:
    e = engine(max_running=1, max_queue=3, max_queue_tokens=50)
    held = [e.submit(asked(range(10))) for _ in range(3)]
    with pytest.raises(Overloaded) as caught:
        e.submit(asked(range(10)))
    assert "3 of 3 requests" in caught.value.values and caught.value.retry_after_seconds >= 1
    e.step()  # one is admitted
    with pytest.raises(Overloaded, match="20 of 50 prompt tokens"):
        e.submit(asked(range(40)))
    held[2].close()  # room at once, without a step
    held.append(e.submit(asked(range(40))))
    assert e.stats()["waiting"] == 2 and e.stats()["queue_tokens"] == 50


def test_a_request_that_gives_nan_fails_alone_and_leaves_a_clean_slot() -> None:
    config = ModelConfig(320, 64, 192, 2, 4, 2, 16, 128, tie_embeddings=False)
    model = Decoder(config)
    expected = run(engine(model), asked([1, 2, 3], max_tokens=20))[0]
    with torch.no_grad():
        model.embedding.weight[200] = float("nan")
    e = engine(model, max_running=2)
    # The next one in the poisoned slot is shorter than what the NaN stood in, and a longer neighbour makes the
    # batch look there: behind the mask, but 0 * NaN is NaN.
    neighbour = e.submit(asked(range(50), max_tokens=60))
    poisoned = e.submit(asked([5, 200, *range(30)], max_tokens=20))
    later = e.submit(asked([1, 2, 3], max_tokens=20))
    while e.step():
        check_slots(e)
    with pytest.raises(OwnlmError, match="not finite"):
        list(poisoned)
    assert later.sequence.error is None and neighbour.sequence.error is None
    assert ids(later) == expected and len(ids(neighbour)) == 60
    assert list(poisoned) == [] and e.stats()["requests_finished_total"] == {"error": 1, "length": 2}


def test_a_bad_constraint_fails_alone() -> None:
    class Bad:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def allowed(self, generated: list[int]) -> list[int]:
            if len(generated) < 2:
                return [1, 2]
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer  # type: ignore[return-value]

    e = engine(max_running=6)
    good = e.submit(asked([1, 2, 3], max_tokens=10))
    answers = (ValueError("boom"), [], [320], [-1], ["x"])
    bad = [e.submit(Request(prompt_ids=(9,), constraint=Bad(answer))) for answer in answers]
    while e.step():
        check_slots(e)
    for stream in bad:
        with pytest.raises(OwnlmError, match="constraint"):
            list(stream)
    assert ids(good) == run(engine(), asked([1, 2, 3], max_tokens=10))[0]


def test_a_forward_that_fails_for_one_row_fails_only_that_request(monkeypatch: pytest.MonkeyPatch) -> None:
    e = engine(max_running=3)
    expected = run(engine(), asked([1], max_tokens=10))[0]
    whole = e.model.hidden

    def hidden(ids: torch.Tensor, *rest: object) -> torch.Tensor:
        if (ids == 77).any():
            raise MemoryError("no room for 77")
        return whole(ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(e.model, "hidden", hidden)
    good, bad = e.submit(asked([1], max_tokens=10)), e.submit(asked([77], max_tokens=10))
    while e.step():
        check_slots(e)
    with pytest.raises(OwnlmError, match="no room for 77"):
        list(bad)
    assert ids(good) == expected


def test_seed_reproduces_and_differs() -> None:
    model = decided_model()
    one, two = ({"temperature": 1.0, "max_tokens": 30, "seed": seed} for seed in (1, 2))
    a, b, c = run(engine(model), asked([1, 2], **one), asked([1, 2], **two), asked([1, 2], **one))
    assert a == c != b
    e = engine(model, seed=None)
    done = complete(e, asked([1, 2], temperature=1.0, max_tokens=30))
    again = complete(e, asked([1, 2], temperature=1.0, max_tokens=30, seed=done.detail["seed"]))
    other = complete(e, asked([1, 2], temperature=1.0, max_tokens=30))
    e.stop()
    assert done.token_ids == again.token_ids != other.token_ids


def test_stop_fails_open_streams_and_start_works_again() -> None:
    e = engine()
    stream = e.generate(asked([1], max_tokens=120))
    next(stream)
    e.stop()
    with pytest.raises(OwnlmError, match="stopped"):
        for _ in stream:
            pass
    assert complete(e, asked([1], max_tokens=3)).usage.completion_tokens == 3
    e.stop()


def test_foreign_tokenizer_and_impossible_context_are_refused() -> None:
    from ownlm.engine.engine import Engine
    from ownlm.model.presets import tiny

    with pytest.raises(ArtifactError, match="another model"):
        Engine(Decoder(tiny(384)), byte_tokenizer())
    with pytest.raises(UsageError, match="129"):
        engine(max_context=129)


def test_bf16_runs_and_keeps_its_cache_in_bf16() -> None:
    e = engine(decided_model().to(torch.bfloat16))
    assert e.cache.keys[0].dtype == torch.bfloat16
    assert e.cache.num_bytes == 4 * 129 * e.model.cache_bytes_per_token(2)
    a, b = run(e, asked(range(20), max_tokens=20), asked(range(5), max_tokens=20))
    assert len(a) == len(b) == 20


def test_a_small_model_computes_on_one_thread_and_puts_the_number_back() -> None:
    e = engine()
    seen: list[int] = []
    e.model.norm.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run(e, asked([1, 2], max_tokens=3))
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)
