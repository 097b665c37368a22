"""`ownlm generate` and `ownlm chat`: the assistant in the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.output import err, out, print_error, print_json
from ownlm.errors import OwnlmError, RequestError
from ownlm.records import Chunk, Generate, Message, Request, Sampling

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="A finished build; with --raw also a pretraining run or a model folder."
    ),
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Most tokens to generate.")]
Temperature = Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampling reproducible.")]
Raw = Annotated[bool, typer.Option("--raw", help="The bare language model: continue the text, no passages.")]


def generate(
    folder: Folder,
    prompt: Annotated[str, typer.Argument(help="A question; with --raw, a text to continue.")],
    raw: Raw = False,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer one question from the documents, or continue a text with --raw.

    Exit codes: 0 answered, 1 the request cannot be served, 4 not a finished build.

    Example: ownlm generate out/quickstart "What does textwrap.shorten do?"
    Example: ownlm generate out/book "It was" --raw --temperature 0.8     (a run of `ownlm pretrain`, or any model folder)
    """
    from ownlm.pipeline.assistant import open_generator
    from ownlm.records import complete

    if not prompt.strip():
        raise RequestError("The prompt is empty.", "", 'ownlm generate DIR "What is ...?"', param="prompt")
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)
    with open_generator(folder, raw) as generator:
        request = (
            Request(prompt=prompt, sampling=sampling)
            if raw
            else Request(messages=(Message("user", prompt),), sampling=sampling)
        )
        if as_json:
            answer = complete(generator, request)
            print_json({"text": answer.text, "finish_reason": answer.finish_reason, "usage": {
                "prompt_tokens": answer.usage.prompt_tokens, "completion_tokens": answer.usage.completion_tokens,
            }, "detail": dict(answer.detail)})  # fmt: skip
            return
        _stream(generator, request)


def chat(
    folder: Folder,
    raw: Raw = False,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
) -> None:
    """Talk with the assistant in the terminal; /quit or Ctrl-D leaves, Ctrl-C stops an answer.

    Example: ownlm chat out/quickstart
    """
    from ownlm.pipeline.assistant import open_assistant

    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed)
    messages: list[Message] = []
    with open_assistant(folder) as assistant:
        err.print(
            f"{assistant.root.name}: ask about the documents. /new starts over, /quit or Ctrl-D leaves.",
            markup=False,
        )
        while True:
            try:
                question = input("> ").strip() if sys.stdin.isatty() else next(sys.stdin).strip()
            except (EOFError, StopIteration):
                return
            if question == "/quit":
                return
            if question == "/new":
                messages = []
                continue
            if not question:
                continue
            messages.append(Message("user", question))
            try:
                if raw:
                    text = _stream(assistant.raw, Request(prompt=question, sampling=sampling))
                else:
                    text = _stream(assistant.grounded, Request(messages=tuple(messages), sampling=sampling))
                messages.append(Message("assistant", text))
            except KeyboardInterrupt:
                out.print("\n(stopped)")
                messages.pop()
            except OwnlmError as error:
                print_error(error)
                messages.pop()


def _stream(generator: Generate, request: Request) -> str:
    """Print an answer as it appears, then its sources and its speed (on stderr)."""
    started = time.monotonic()
    parts, last = [], Chunk()
    chunks = iter(generator.generate(request))
    try:
        for last in chunks:
            parts.append(last.text)
            sys.stdout.write(last.text)
            sys.stdout.flush()
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    sys.stdout.write("\n")
    sys.stdout.flush()
    cited = {citation["n"] for citation in last.detail.get("citations", ())}
    for passage in last.detail.get("passages", ()):
        if passage["n"] in cited:
            err.print(
                f"  [{passage['n']}] {passage['title']} ({passage['source']}, {passage['licence']})",
                markup=False,
            )
    if last.usage:
        rate = last.usage.completion_tokens / max(time.monotonic() - started, 1e-9)
        err.print(f"  {last.usage.completion_tokens} tokens, {rate:.0f} tokens/s", markup=False)
    return "".join(parts)
