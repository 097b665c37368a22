"""A scripted Generate, a small passage store and a server on a free port, for the tests of this room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import uvicorn

from ownlm.errors import OwnlmError, RequestError
from ownlm.records import Chunk, Document, Passage, Request, Usage
from ownlm.serve.app import create_app
from ownlm.serve.run import listen

HTTP = httpx2.Client(verify=False, timeout=20)  # plain http; one client, as a new one costs 50 ms
KEY = "a-key-of-some-length"
CONTEXT = 64

BISECT = (
    "bisect — Array bisection algorithm\n\n"
    "This module provides support for maintaining a list in sorted order without having to sort the list "
    "after each insertion. For long lists of items with expensive comparison operations, this can be an "
    "improvement over linear searches or frequent resorting.\n\n"
    "bisect.insort(a, x)\n\nInsert item x in list a, and keep it sorted assuming a is sorted. "
    "If x is already in a, insert it to the right of the rightmost x.\n"
)
HEAPQ = (
    "heapq — Heap queue algorithm\n\n"
    "Heaps are arrays for which a[k] <= a[2*k+1] and a[k] <= a[2*k+2] for all k, counting elements from 0. "
    "For the sake of comparison, non-existing elements are considered to be infinite. The interesting "
    "property of a heap is that a[0] is always its smallest element.\n"
)
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked=1'> [1] javascript:alert(1)"


class Overloaded(OwnlmError):
    retry_after_seconds = 2.4


def passage(number: int, document: Document, title: str, start: int, end: int) -> Passage:
    text = document.text[start:end]
    return Passage(number, document.id, title, text, document.source, document.licence, start, end)


class Store:
    """Two documents, three passages."""

    def __init__(self) -> None:
        self.documents = {
            "d1": Document("d1", BISECT, "bisect.py", "PSF-2.0"),
            "d2": Document("d2", HEAPQ, "Lib/heapq.py#doc", "PSF-2.0"),
            "d3": Document("d3", EVIL + "\n" + EVIL, "<b>evil</b>.py", "<i>licence</i>"),
        }
        d1, d2, d3 = self.documents.values()
        insort = BISECT.index("Insert item")
        self.passages = {
            11: passage(11, d1, "bisect.insort", insort, len(BISECT) - 1),
            12: passage(12, d1, "bisect", 36, 290),
            13: passage(13, d2, "heapq", 31, len(HEAPQ) - 1),
            14: passage(14, d3, EVIL, 0, len(EVIL)),
        }

    def passage(self, passage_id: int) -> Passage:
        return self.passages[passage_id]

    def document(self, document_id: str) -> Document:
        return self.documents[document_id]


class Scripted:
    """Answers by the words of the last message. Records what was asked and which iterators were closed."""

    name = "script"

    def __init__(self, store: Store, delay: float = 0.0, grounded: bool = True) -> None:
        self.store, self.delay, self.grounded = store, delay, grounded
        self.requests: list[Request] = []
        self.closed = threading.Event()
        self.running = 0
        self.barrier: threading.Barrier | None = None

    def generate(self, request: Request) -> Iterator[Chunk]:
        self.requests.append(request)
        asked = request.messages[-1].content if request.messages else request.prompt or "ids"
        num_prompt = len(asked.split()) if request.prompt_ids is None else len(request.prompt_ids)
        self._refuse(asked, num_prompt)
        finished = False
        try:
            yield from self._answer(asked, request, num_prompt)
            finished = True
        finally:
            if not finished:
                self.closed.set()

    def _refuse(self, asked: str, num_prompt: int) -> None:
        if num_prompt > CONTEXT:
            raise RequestError(
                "The prompt is longer than the model's context.",
                f"{num_prompt} tokens of prompt, context {CONTEXT}",
                "Shorten the prompt.",
                param="messages",
            )
        if "overload" in asked:
            raise Overloaded("Too many requests wait.", "queue 64 of 64", "Try again.")
        if "secret failure" in asked:
            raise ValueError("internal path /home/someone/0x7f00aa")

    def _answer(self, asked: str, request: Request, num_prompt: int) -> Iterator[Chunk]:
        if "heartbeat" in asked:
            for _ in range(4):
                yield Chunk()
                time.sleep(0.02)
        text, detail = self.script(asked)
        if self.barrier is not None:
            yield Chunk("begin ", (0,))
            self.barrier.wait(10)  # passes only when all streams have come this far
        limit = request.sampling.max_tokens
        words = text.split(" ")
        pieces = [word + (" " if i < len(words) - 1 else "") for i, word in enumerate(words)]
        if "endless" in asked:
            pieces, limit = ["on and "] * 100_000, 100_000
        sent = 0
        for piece in pieces[:limit]:
            if any(stop in piece for stop in request.sampling.stop):
                break
            if "break half way" in asked and sent == 3:
                raise ValueError("internal path /home/someone/0x7f00aa")
            yield Chunk(piece, (sent,))
            sent += 1
            if self.delay or "endless" in asked:
                time.sleep(self.delay or 0.01)
        reason = "length" if sent == limit and sent < len(pieces) else "stop"
        yield Chunk("", (), reason, Usage(num_prompt, sent), detail if self.grounded else {})

    def script(self, asked: str) -> tuple[str, dict[str, Any]]:
        if "moon" in asked:
            text = "The documents do not contain an answer to this question."
            return text, self.detail([], [], refused=True, relevance=0.04)
        if "evil" in asked:
            return EVIL, self.detail([14], [{"n": 1, "start": 0, "end": 10}])
        first = "bisect.insort: Insert item x in list a, and keep it sorted assuming a is sorted. [1]"
        second = (
            " bisect: This module provides support for maintaining a list in sorted order without having to "
            "sort the list after each insertion. [2]"
        )
        citations = [
            {"n": 1, "start": 0, "end": len(first) - 4},
            {"n": 2, "start": len(first) + 1, "end": len(first) + len(second) - 4},
        ]
        return first + second, self.detail([11, 12, 13], citations)

    def detail(
        self, ids: list[int], citations: list[dict[str, int]], refused: bool = False, relevance: float = 0.83
    ) -> dict[str, Any]:
        rows = []
        for n, number in enumerate(ids, 1):
            p = self.store.passages[number]
            names = ("id", "document_id", "title", "source", "licence", "text", "start", "end")
            rows.append({"n": n, **{k: getattr(p, k) for k in names}, "score": 12.5 / n})
        return {
            "grounded": True,
            "passages": rows,
            "citations": citations,
            "refused": refused,
            "relevance": relevance,
            "retrieval_seconds": 0.003,
        }


def overlaps(answer: str, passage_ids: tuple[int, ...] = ()) -> dict[str, Any]:
    """The two sentences that the scripted answer shares with its documents."""
    spans = []
    for sentence in (
        "Insert item x in list a, and keep it sorted assuming a is sorted.",
        "This module provides support for maintaining a list in sorted order without having to sort the list "
        "after each insertion.",
    ):
        at = answer.find(sentence)
        if at >= 0:
            there = BISECT.index(sentence)
            spans.append(
                {
                    "start": at,
                    "end": at + len(sentence),
                    "in_training": sentence.startswith("Insert"),
                    "document_id": "d1",
                    "source": "bisect.py",
                    "licence": "PSF-2.0",
                    "document_start": there,
                    "document_end": there + len(sentence),
                }
            )
    return {"spans": spans}


MODEL_INFO = {
    "name": "script",
    "digest": "5f0c3bd1e2a94b7c8d6e" * 3 + "abcd",
    "parameters": 12_600_000,
    "documents": 10_214,
    "tokens": 8_120_000,
    "context": 512,
    "licences": {"PSF-2.0": 10_180, "MIT": 34},
    "built": "2026-11-21",
}
EXAMPLES = (
    "What does bisect.insort do?",
    "Which module has a heap queue?",
    "How do I keep a list sorted?",
    "What is the distance to the moon?",
)


def make_app(**changes: Any) -> tuple[Any, Scripted]:
    store = Store()
    script = changes.pop("generator", None) or Scripted(store, changes.pop("delay", 0.0))
    arguments: dict[str, Any] = {
        "raw": Scripted(store, grounded=False),
        "lineage": overlaps,
        "passages": store,
        "model_info": MODEL_INFO,
        "examples": EXAMPLES,
    }
    return create_app(script, **{**arguments, **changes}), script


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of the app on a free port, in a thread of this process."""
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_level="error", lifespan="off", http="h11", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)

    def run() -> None:
        server.run(sockets=[sock])
        sock.close()

    threading.Thread(target=run, daemon=True).start()
    while not server.started:
        time.sleep(0.005)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        yield address
    finally:
        server.should_exit = server.force_exit = True  # graceful ends are tested in test_run.py
