"""`ownlm serve` on a real build, asked by the real openai SDK over a socket."""

import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import openai
import pytest


@pytest.fixture(scope="module")
def address(built):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "ownlm.cli.main",
        "serve",
        str(built),
        "--port",
        str(port),
        "--api-key",
        "secret",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            break
        except OSError:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
    yield url
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0)


QUESTION = [{"role": "user", "content": "What does textwrap.shorten do?"}]


def test_models(client):
    names = [model.id for model in client.models.list()]
    assert len(names) == 2 and names[1] == f"{names[0]}:raw"


def test_streamed_equals_plain_and_brings_passages(client):
    name = client.models.list().data[0].id
    plain = client.chat.completions.create(model=name, messages=QUESTION, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model=name, messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content and plain.choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens
    detail = plain.model_extra["ownlm"]
    assert 1 <= len(detail["passages"]) <= 3
    for citation in detail["citations"]:
        assert 1 <= citation["n"] <= len(detail["passages"]) and re.search(rf"\[{citation['n']}\]", text)


def test_stop_length_and_seed_of_the_raw_model(client):
    name = client.models.list().data[1].id
    ask = {"model": name, "prompt": "import ", "max_tokens": 12, "temperature": 1.0, "seed": 5}
    first = client.completions.create(**ask)
    assert first.choices[0].finish_reason in ("length", "stop") and first.usage.completion_tokens <= 12
    assert client.completions.create(**ask).choices[0].text == first.choices[0].text
    letter = next((c for c in first.choices[0].text if c.isalpha()), None)
    if letter:
        stopped = client.completions.create(**ask, stop=[letter])
        assert letter not in stopped.choices[0].text and stopped.choices[0].finish_reason == "stop"


def test_over_long_prompt_is_refused_with_the_counts(client):
    name = client.models.list().data[1].id
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=name, prompt="word " * 5000)
    assert re.search(r"\d,?\d{3}", str(caught.value)) and "1,024" in str(caught.value)


def test_key_is_needed(address):
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0).models.list()


def test_sixteen_streams_progress_together(client):
    """Every stream has text before the first one is finished."""
    name = client.models.list().data[1].id
    first, last = {}, {}

    def run(number):
        stream = client.completions.create(
            model=name,
            prompt=f"def function_{number}(",
            max_tokens=60,
            temperature=1.0,
            seed=number,
            stream=True,
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].text:
                first.setdefault(number, time.monotonic())
                last[number] = time.monotonic()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first) == 16 and max(first.values()) < sorted(last.values())[8]


def test_lineage_of_an_answer_names_training_documents(address, built):
    import json

    body = json.dumps(
        {
            "answer": 'def wrap(text, width=70, **kwargs):\n    """Wrap a single paragraph of text, returning a list of wrapped lines.',
            "passages": [],
        }
    ).encode()
    request = urllib.request.Request(
        f"{address}/v1/lineage", body, {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    )
    with urllib.request.urlopen(request) as response:
        found = json.load(response)
    assert found["model"]["digest"] and "spans" in found
