"""A byte tokenizer, a small decided model, and short ways to ask an engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ownlm.engine.engine import Engine
from ownlm.engine.stream import Stream
from ownlm.model.decoder import Decoder
from ownlm.model.presets import tiny
from ownlm.records import Chunk, Request, Sampling
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.vocabulary import SPECIALS, Vocabulary

VOCAB = 320


def byte_tokenizer() -> Tokenizer:
    """Id = byte; control tokens from 256, fillers up to 320."""
    fillers = [f"<|filler_{i}|>" for i in range(VOCAB - 256 - len(SPECIALS))]
    return Tokenizer(Vocabulary.from_merges("llama3", [], [*SPECIALS, *fillers]))


def decided_model(seed: int = 1, context: int = 128) -> Decoder:
    """Weights large enough that the greedy choice is no tie, and that texts vary."""
    model = Decoder(tiny(VOCAB, context), seed=seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(4.0 if name.startswith("embedding") else 15.0)
    return model


def engine(model: Decoder | None = None, **options: object) -> Engine:
    options.setdefault("max_running", 4)
    options.setdefault("seed", 0)
    options.setdefault(
        "stop_ids", [257]
    )  # <|end|> alone: with all 64 a random model stops at every fifth token
    return Engine(model or decided_model(), byte_tokenizer(), **options)  # type: ignore[arg-type]


def asked(ids: Sequence[int], **sampling: object) -> Request:
    return Request(prompt_ids=tuple(ids), sampling=Sampling(**sampling))  # type: ignore[arg-type]


def run(e: Engine, *requests: Request) -> list[list[int]]:
    """Generated ids of requests submitted together, by hand-driven steps."""
    streams = [e.submit(request) for request in requests]
    while e.step():
        check_slots(e)
    return [ids(stream) for stream in streams]


def ids(stream: Stream) -> list[int]:
    return [i for chunk in stream for i in chunk.token_ids]


def text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def check_slots(e: Engine) -> None:
    """Every slot is free or belongs to exactly one running sequence; the queue's token count is right."""
    s = e.scheduler
    used = [sequence.slot for sequence in s.running]
    assert sorted(used + s.free_slots) == list(range(s.num_slots))
    assert s.queue_tokens == sum(len(sequence.prompt) for sequence in s.waiting)
    assert all(sequence.slot == -1 for sequence in s.waiting)
    assert all(0 <= q.num_computed <= q.num_tokens <= e.max_context for q in s.running)


def random_request(r: random.Random, max_prompt: int = 60) -> Request:
    prompt = [r.randrange(256) for _ in range(r.randint(1, max_prompt))]
    sampled = {} if r.random() < 0.4 else {
        "temperature": r.choice([0.5, 1.0, 2.0]), "top_k": r.choice([0, 3, 40]), "top_p": r.choice([1.0, 0.9, 0.3]),
        "seed": r.randrange(1000),
    }  # fmt: skip
    constraint = Maze(r.randrange(1000)) if r.random() < 0.3 else None
    return Request(
        prompt_ids=tuple(prompt),
        sampling=Sampling(max_tokens=r.randint(1, 24), **sampled),
        constraint=constraint,
    )


@dataclass(frozen=True)
class Maze:
    """A constraint with forced runs of random length and random choices, pure in what was generated."""

    seed: int

    def allowed(self, generated: Sequence[int]) -> list[int] | None:
        r = random.Random(f"{self.seed} {list(generated)}")
        kind = r.random()
        if kind < 0.6:
            return [r.randrange(256)]
        if kind < 0.9:
            return sorted(r.sample(range(256), r.randint(2, 30)))
        return None


@dataclass(frozen=True)
class Script:
    """A constraint that dictates a text and then allows anything."""

    data: bytes

    def allowed(self, generated: Sequence[int]) -> list[int] | None:
        return [self.data[len(generated)]] if len(generated) < len(self.data) else None
