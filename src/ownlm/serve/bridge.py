"""From a blocking iterator of chunks to the event loop: each running request has its own thread.

The buffer between the two is bounded by the request's max_tokens, so a slow client holds up only its
own thread and never the generator's other requests. Closing works in one direction: the loop says
`leave`, the thread sees it at the next chunk (heartbeats included) and closes the iterator. An iterator that is not
a Python generator (the engine's stream) may be closed from any thread, and is closed at once, so that a
request that still waits in a queue goes away too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import GeneratorType
from typing import Any

from ownlm.records import Chunk, Generate, Request

IDLE = Chunk()  # what `next` returns when nothing came in time


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


class Running:
    """One request being generated. Create it inside the event loop; `next` and `leave` belong to the loop."""

    def __init__(self, generator: Generate, request: Request, done: Callable[[], None]) -> None:
        """`done` is called in the loop once the thread has let go of the iterator."""
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Chunk | BaseException | None] = asyncio.Queue()
        self._left = threading.Event()
        self._chunks: Iterator[Chunk] | None = None
        self._ended = False
        self._done = done
        self._thread = threading.Thread(
            target=self._run, args=(generator, request), name=f"answer-{request.id}", daemon=True
        )
        self._thread.start()

    async def next(self, seconds: float | None = None) -> Chunk | None:
        """The next chunk, None at the end, IDLE when nothing came within `seconds`.

        Raises what the generator raised, and ClientGone after `leave`.
        """
        try:
            item = await asyncio.wait_for(self._queue.get(), seconds)
        except TimeoutError:
            return IDLE
        if isinstance(item, BaseException):
            raise item
        return item

    def leave(self) -> None:
        """Stop generating: at once where the iterator allows it, else at its next chunk. May be called twice."""
        if self._ended or self._left.is_set():
            return
        self._left.set()
        self._queue.put_nowait(ClientGone())
        close = getattr(self._chunks, "close", None)
        if close is not None and not isinstance(self._chunks, GeneratorType):
            self._loop.run_in_executor(None, close)  # not here: it may wait for the engine's lock

    async def watch(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Leave when the client does. Run as a task beside the answer."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.leave()

    def _run(self, generator: Generate, request: Request) -> None:
        end: BaseException | None = None
        try:
            self._chunks = generator.generate(request)
            for chunk in self._chunks:
                if self._left.is_set() or not self._hand_over(chunk):
                    break
        except BaseException as error:  # whatever it is, it belongs to this request and to no other
            end = error
        finally:
            try:
                getattr(self._chunks, "close", _nothing)()
            except BaseException as error:
                end = end or error
        self._ended = True
        self._hand_over(end)
        self._call(self._done)

    def _hand_over(self, item: Chunk | BaseException | None) -> bool:
        return self._call(self._queue.put_nowait, item)

    def _call(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the server is gone
            return False
        return True


def _nothing() -> None:
    pass
