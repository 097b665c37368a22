"""The two routes that generate: /v1/chat/completions and /v1/completions, whole or streamed."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any

from fastapi import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from ownlm.records import Chunk, Generate, Request, Usage
from ownlm.serve.bridge import ClientGone, Running
from ownlm.serve.metrics import Timing
from ownlm.serve.service import Service, service_of
from ownlm.serve.wire import frames
from ownlm.serve.wire.errors import WireError, from_exception
from ownlm.serve.wire.openai import ChatRequest, CompletionRequest

PING_SECONDS = 10.0
TICK_SECONDS = 1.0  # how often a silent stream looks at the clock
SEND_SECONDS = 30.0  # a client that takes no byte for so long is gone

log = logging.getLogger("ownlm.serve")


async def chat(http: HttpRequest, body: ChatRequest) -> Response:
    """Answer a conversation; the model's name decides between documents and the bare model."""
    service = service_of(http)
    answer_id = "chatcmpl-" + secrets.token_hex(12)
    envelope = frames.Envelope(answer_id, int(time.time()), body.model, service.fingerprint, "chat")
    return await _answer(http, service.pick(body.model), body, body.request(answer_id), envelope)


async def completions(http: HttpRequest, body: CompletionRequest) -> Response:
    """Continue a text. Always the bare language model, under whichever of the two names."""
    service = service_of(http)
    service.pick(body.model)
    answer_id = "cmpl-" + secrets.token_hex(12)
    envelope = frames.Envelope(answer_id, int(time.time()), service.raw_name, service.fingerprint, "text")
    return await _answer(http, service.raw, body, body.request(answer_id), envelope)


async def _answer(
    http: HttpRequest,
    generator: Generate,
    body: ChatRequest | CompletionRequest,
    request: Request,
    envelope: frames.Envelope,
) -> Response:
    service = service_of(http)
    for name in body.ignored():
        service.metrics.ignored.labels(name).inc()
    service.enter()
    try:
        running = Running(generator, request, service.leave)
    except RuntimeError:  # no more threads on this machine
        service.leave()
        raise
    answer = Answer(http, service, running, envelope, body.ignored())
    try:
        # The first chunk comes before the headers: a request that is refused gets a status, not a stream.
        first = await answer.running.next()
        if first is None:
            raise RuntimeError("the generator ended without a chunk")
        if body.stream:
            return EventStream(answer, first, include_usage=body.include_usage())
        whole = await answer.whole(first)
    except BaseException as error:
        answer.close("refused" if _refused(error, service, http) else _ending(error))
        if isinstance(error, ClientGone):
            return Response(status_code=499)  # nobody reads it; the number is nginx's
        raise
    answer.close(answer.reason, answer.usage)
    return JSONResponse(whole)


class Answer:
    """One answer on its way out: what came so far, the clock, and the watch over the client."""

    def __init__(
        self,
        http: HttpRequest,
        service: Service,
        running: Running,
        envelope: frames.Envelope,
        ignored: list[str],
    ) -> None:
        self.service, self.running, self.envelope, self.ignored = service, running, envelope, ignored
        self.request_id: str = http.state.request_id
        self.timing = Timing(service.metrics, envelope.model)
        self.detail: dict[str, Any] = {}
        self.reason = ""
        self.usage = Usage()
        self._watch = asyncio.create_task(running.watch(http.receive))

    def take(self, chunk: Chunk) -> None:
        """Book a chunk. Raises RuntimeError for one that says that generating failed."""
        self.timing.chunk(chunk)
        self.detail.update(chunk.detail)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason == "error":
            raise RuntimeError("the generator ended with finish_reason 'error'")
        self.reason = chunk.finish_reason or ""

    async def whole(self, first: Chunk) -> dict[str, Any]:
        """Wait for the end, then the whole response object."""
        texts: list[str] = []
        chunk: Chunk | None = first
        while chunk is not None:
            self.take(chunk)
            texts.append(chunk.text)
            chunk = None if self.reason else await self.running.next()
        if not self.reason:
            raise RuntimeError("the generator ended without a finish_reason")
        return frames.whole(self.envelope, "".join(texts), self.reason, self.usage, self.extension())

    def extension(self) -> Mapping[str, Any]:
        """The field `ownlm` of the response; docs/service.md describes it."""
        info = self.service.model_info
        lineage = {
            "model": self.service.name,
            "model_digest": info.get("digest"),
            "licences": info.get("licences"),
        }
        body = {**self.detail, "lineage": lineage, **self.timing.facts(self.usage), "ignored": self.ignored}
        json.dumps(
            body, allow_nan=False
        )  # a detail that is not JSON is our mistake: fail here, not mid-frame
        return body

    def close(self, reason: str, usage: Usage | None = None) -> None:
        self._watch.cancel()
        self.running.leave()
        self.timing.finish(reason, usage)


class EventStream(Response):
    """The streamed answer. Pings while idle, ends with an error event on trouble, aborts a dead client."""

    media_type = "text/event-stream"

    def __init__(self, answer: Answer, first: Chunk, *, include_usage: bool) -> None:
        super().__init__(status_code=200, headers={"x-accel-buffering": "no", "cache-control": "no-store"})
        del self.headers["content-length"]
        self.answer, self.first, self.include_usage = answer, first, include_usage

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def write(body: bytes, more: bool = True) -> None:
            message = {"type": "http.response.body", "body": body, "more_body": more}
            try:
                await asyncio.wait_for(send(message), SEND_SECONDS)
            except (OSError, TimeoutError) as error:
                raise ClientGone from error

        ending = "abort"
        answer = self.answer
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            try:
                await self._frames(write)
                ending = answer.reason
            except ClientGone:
                raise
            except Exception as error:
                ending = "error"
                await write(frames.error_frame(_logged(error, answer.request_id)))
            await write(frames.DONE)
            await write(b"", more=False)
        except ClientGone:
            pass  # nobody is left to be told
        finally:
            answer.close(ending, answer.usage)

    async def _frames(self, write: Any) -> None:
        answer, envelope = self.answer, self.answer.envelope
        if envelope.kind == "chat":
            await write(frames.role_frame(envelope, with_usage=self.include_usage))
        written = time.monotonic()
        chunk: Chunk | None = self.first
        while True:
            if chunk is None:
                raise RuntimeError("the generator ended without a finish_reason")
            answer.take(chunk)
            early = None if answer.reason else dict(chunk.detail) or None
            if chunk.text or early:
                await write(
                    frames.text_frame(envelope, chunk.text, with_usage=self.include_usage, extension=early)
                )
                written = time.monotonic()
            elif time.monotonic() - written > PING_SECONDS:
                await write(frames.PING)
                written = time.monotonic()
            if answer.reason:
                break
            _check_drain(answer.service)
            chunk = await answer.running.next(TICK_SECONDS)
        last = frames.last_frame(envelope, answer.reason, answer.extension(), with_usage=self.include_usage)
        await write(last)
        if self.include_usage:
            await write(frames.usage_frame(envelope, answer.usage))


def _check_drain(service: Service) -> None:
    if service.drain_at is not None and time.monotonic() > service.drain_at:
        raise WireError(503, "The server is shutting down.", code="shutting_down")


def _logged(error: Exception, request_id: str) -> WireError:
    wire = from_exception(error, request_id)
    if wire.status == 500:
        log.error("request %s failed", request_id, exc_info=error)
    return wire


def _refused(error: BaseException, service: Service, http: HttpRequest) -> bool:
    """Refused before it ran (4xx, 503), as against failed or abandoned."""
    if isinstance(error, ClientGone | asyncio.CancelledError):
        return False
    return from_exception(error, http.state.request_id).status != 500


def _ending(error: BaseException) -> str:
    return "abort" if isinstance(error, ClientGone | asyncio.CancelledError) else "error"
