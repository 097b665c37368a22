"""Conversations through the real openai SDK over a socket."""

from __future__ import annotations

import logging

import openai
import pytest
import standin

ASK = [{"role": "user", "content": "How do I keep a list sorted?"}]


def test_plain_answer_carries_text_usage_and_extension(live):
    done = live.client.chat.completions.create(model="script", messages=ASK)
    choice = done.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert choice.message.content.startswith("bisect.insort: Insert item x")
    assert done.usage.prompt_tokens == 7 and done.usage.total_tokens == 7 + done.usage.completion_tokens
    assert done.system_fingerprint.startswith("ownlm-5f0c3bd1e2a9")
    extension = done.model_extra["ownlm"]
    assert [p["id"] for p in extension["passages"]] == [11, 12, 13]
    assert extension["lineage"]["model_digest"] == standin.MODEL_INFO["digest"]
    assert extension["refused"] is False and extension["ignored"] == []
    assert {"tokens_per_second", "time_to_first_token_seconds"} <= extension.keys()


def test_stream_joins_to_the_plain_answer_and_keeps_the_order_of_frames(live):
    plain = live.client.chat.completions.create(model="script", messages=ASK)
    options = {"include_usage": True}
    events = list(
        live.client.chat.completions.create(model="script", messages=ASK, stream=True, stream_options=options)
    )
    *chunks, usage = events
    assert usage.choices == [] and usage.usage == plain.usage
    assert all(event.usage is None for event in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(event.choices[0].delta.role is None for event in chunks[1:])
    assert [event.choices[0].finish_reason for event in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    text = "".join(event.choices[0].delta.content or "" for event in chunks)
    assert text == plain.choices[0].message.content
    assert chunks[-1].choices[0].delta.content is None
    assert [bool(event.model_extra.get("ownlm")) for event in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({event.id for event in events}) == 1


def test_without_include_usage_no_chunk_lacks_choices(live):
    events = list(live.client.chat.completions.create(model="script", messages=ASK, stream=True))
    assert all(len(event.choices) == 1 for event in events)


def test_sampling_reaches_the_generator(live):
    live.client.chat.completions.create(
        model="script",
        messages=[{"role": "developer", "content": "Be brief."}, *ASK],
        temperature=0.7,
        top_p=0.9,
        seed=7,
        stop=["keep "],
        max_completion_tokens=20,
        extra_body={"top_k": 40},
    )
    request = live.script.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.7, 0.9, 7)
    assert (sampling.stop, sampling.max_tokens, sampling.top_k) == (("keep ",), 20, 40)
    assert [message.role for message in request.messages] == ["system", "user"]


def test_finish_reasons(live):
    cut = live.client.chat.completions.create(model="script", messages=ASK, max_tokens=3)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 3
    stopped = live.client.chat.completions.create(model="script", messages=ASK, stop="sorted")
    assert stopped.choices[0].finish_reason == "stop"
    assert "sorted" not in stopped.choices[0].message.content


def test_an_answer_can_be_sent_back_as_it_came(live):
    first = live.client.chat.completions.create(model="script", messages=ASK)
    history = [
        *ASK,
        first.choices[0].message,
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    live.client.chat.completions.create(model="script", messages=history)
    assert [m.role for m in live.script.requests[-1].messages] == ["user", "assistant", "user"]
    assert live.script.requests[-1].messages[-1].content == "And?"


def test_raw_model_and_completions(live):
    raw = live.client.chat.completions.create(model="script:raw", messages=ASK)
    assert "passages" not in raw.model_extra["ownlm"]
    text = live.client.completions.create(model="script", prompt="def f", max_tokens=4)
    assert text.model == "script:raw" and text.object == "text_completion"
    assert text.usage.completion_tokens == 4 and text.choices[0].finish_reason == "length"
    ids = live.client.completions.create(model="script:raw", prompt=[5, 6, 7])
    assert ids.usage.prompt_tokens == 3 and ids.usage.completion_tokens == 16  # the API's default length
    parts = list(
        live.client.completions.create(model="script:raw", prompt=["def f"], stream=True, max_tokens=4)
    )
    assert "".join(part.choices[0].text for part in parts) == text.choices[0].text
    assert len(live.script.requests) == 0, "the raw model answers, not the grounded one"


def test_models_lists_both(live):
    listed = live.client.models.list()
    assert [model.id for model in listed.data] == ["script", "script:raw"]
    assert listed.model_extra["ownlm"]["examples"] == list(standin.EXAMPLES)
    assert live.client.models.retrieve("script:raw").id == "script:raw"
    with pytest.raises(openai.NotFoundError):
        live.client.chat.completions.create(model="gpt-4", messages=ASK)


@pytest.mark.parametrize("stream", [False, True])
def test_too_long_prompt_is_a_400_with_the_counts(live, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.chat.completions.create(
            model="script", messages=[{"role": "user", "content": "word " * 80}], stream=stream
        )
    assert "80 tokens" in str(caught.value) and "context 64" in str(caught.value)
    assert caught.value.param == "messages" and caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_full_queue_is_a_503_with_retry_after(live, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        live.client.chat.completions.create(
            model="script", messages=[{"role": "user", "content": "overload"}], stream=stream
        )
    assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"] == "3"


def test_internal_failure_says_nothing_about_the_inside(live, caplog):
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(openai.InternalServerError) as caught:
        live.client.chat.completions.create(
            model="script", messages=[{"role": "user", "content": "secret failure"}]
        )
    assert caught.value.status_code == 500
    assert "/home" not in caught.value.response.text and "0x" not in caught.value.response.text
    assert caught.value.response.headers["x-request-id"] in caught.value.response.text
    assert "content-security-policy" in caught.value.response.headers


def test_failure_half_way_raises_in_the_sdk_and_names_nothing(live):
    seen = []
    with pytest.raises(openai.APIError) as caught:
        for event in live.client.chat.completions.create(
            model="script", messages=[{"role": "user", "content": "break half way"}], stream=True
        ):
            seen.append(event)
    assert len(seen) == 4 and "/home" not in str(caught.value)
    live.client.chat.completions.create(model="script", messages=ASK)  # and the server goes on


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("response_format", {"type": "json_object"}),
        ("reasoning_effort", "high"),
        ("presence_penalty", -1.0),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(live, field, value):
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.chat.completions.create(model="script", messages=ASK, **{field: value})
    assert caught.value.param == field and caught.value.code == "unsupported_parameter"
    assert live.script.requests == []


@pytest.mark.parametrize("field", ["echo", "suffix", "logprobs", "best_of"])
def test_completions_refuse_what_they_lack(live, field):
    value = {"echo": True, "suffix": "end", "logprobs": 1, "best_of": 3}[field]
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.completions.create(model="script:raw", prompt="x", **{field: value})
    assert caught.value.param == field


def test_neutral_and_ignored_fields_are_accepted_and_named(live):
    done = live.client.chat.completions.create(
        model="script",
        messages=ASK,
        n=1,
        frequency_penalty=0,
        logprobs=False,
        tools=[],
        tool_choice="auto",
        response_format={"type": "text"},
        user="me",
        metadata={"a": "b"},
        store=False,
    )
    assert done.model_extra["ownlm"]["ignored"] == ["metadata", "store", "user"]


def test_contradicting_limits(live):
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.chat.completions.create(
            model="script", messages=ASK, max_tokens=3, max_completion_tokens=4
        )
    assert caught.value.param == "max_tokens"


def test_key(tmp_path):
    app, _ = standin.make_app(api_key=standin.KEY)
    with standin.served(app) as url:
        for key in ("wrong", standin.KEY + "x", standin.KEY[:-1]):
            with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
                with pytest.raises(openai.AuthenticationError):
                    client.chat.completions.create(model="script", messages=ASK)
        with openai.OpenAI(base_url=url + "/v1", api_key=standin.KEY, max_retries=0) as client:
            assert client.chat.completions.create(model="script", messages=ASK).choices
