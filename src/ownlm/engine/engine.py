"""The engine: many requests share one model, each as if it were alone.

    submit ─ waiting ─ admit ─ running: { prompt chunks, forced tokens, one token each } ─ sample ─ chunks
                                  one forward for each kind of batch and step

One thread computes (`start`), any number submit and iterate. What a request gets does not depend on the other
requests (up to the last bits of a float: a matrix product may sum in another order in a larger batch).
Not here yet: prefix reuse, paging, speculation, log-probabilities.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch

from ownlm.engine import prompt, runner, sampler
from ownlm.engine.answer import accept, ask_constraint, drain
from ownlm.engine.cache import SlotCache
from ownlm.engine.scheduler import Row, Scheduler
from ownlm.engine.sequence import Sequence
from ownlm.engine.stats import Stats
from ownlm.engine.stops import StopStrings
from ownlm.engine.stream import Stream
from ownlm.errors import ArtifactError, OwnlmError, UsageError
from ownlm.model.decoder import Decoder
from ownlm.records import Request
from ownlm.tokenizer.stream import Detokenizer
from ownlm.tokenizer.tokenizer import Tokenizer


class Engine:
    """A `Generate` over one decoder and its tokenizer."""

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        *,
        name: str = "ownlm",
        max_running: int = 16,
        max_queue: int = 256,
        max_queue_tokens: int | None = None,
        max_context: int | None = None,
        prefill_tokens: int = 512,
        stop_ids: Collection[int] | None = None,
        forced_runs: bool = True,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_queue_tokens: prompt tokens waiting (default: 8 full contexts per slot); max_context: tokens of
        prompt and answer (default: the model's positions); prefill_tokens: prompt tokens per step, the bound on
        how long running streams wait for a long prompt; stop_ids: ids that end an answer (default: every
        special token, since none of them belongs inside a text); forced_runs: give the model all tokens that a
        constraint leaves no choice about in one forward; seed: for requests that bring none (default: from the
        system's entropy; the seed in use is in the last chunk's detail).

        Raises ArtifactError when the tokenizer is of another model, UsageError when max_context is too large.
        """
        if tokenizer.vocab_size != model.config.vocab_size:
            raise ArtifactError("The tokenizer belongs to another model.",
                                f"tokenizer: {tokenizer.vocab_size:,} ids; model: {model.config.vocab_size:,}",
                                "use the tokenizer files from the model's own folder")  # fmt: skip
        self.max_context = max_context or model.config.max_positions
        if self.max_context > model.config.max_positions:
            raise UsageError("max_context is longer than the model's positions.",
                             f"{self.max_context:,} > {model.config.max_positions:,}", "choose at most that")  # fmt: skip
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.stop_ids = frozenset(tokenizer.specials.values() if stop_ids is None else stop_ids)
        self.cache = SlotCache(model.kv_shape(), max_running, self.max_context, model.embedding.weight.dtype)
        budget = max_queue_tokens or 8 * max_running * self.max_context
        self.scheduler = Scheduler(max_running, max_queue, budget, prefill_tokens)
        self._forced_runs = forced_runs
        self._stats = Stats()
        self._clock = clock
        self._random = random.Random(seed)
        self._num_submitted = 0
        self._turn = threading.Lock()  # one step at a time
        self._lock = threading.Condition()  # scheduler, counters, and the wake-up of the engine thread
        self._thread: threading.Thread | None = None
        self._stopping = False

    # ---- any thread

    def generate(self, request: Request) -> Stream:
        """Submit and start the engine thread if it is not running; the stream's close aborts."""
        stream = self.submit(request)
        self.start()
        return stream

    def submit(self, request: Request) -> Stream:
        """Check, tokenize and queue a request; nothing is computed for it before this returns.

        Where prompt + max_tokens exceed the context the answer may still end early by itself; if it does not,
        it ends at the context's edge with finish_reason "length". Chunk.token_ids holds every generated id, a
        stop id at the end included; Chunk.text never holds a stop id or a stop string.

        Raises RequestError for a request that cannot be served as asked, Overloaded when the queue is full.
        """
        prompt.check_sampling(request.sampling)
        ids = prompt.prompt_ids(request, self.tokenizer, self.max_context)
        s = request.sampling
        with self._lock:
            self._num_submitted += 1
            seed = self._random.getrandbits(63) if s.seed is None else s.seed % (1 << 64)
            sequence = Sequence(
                id=request.id or f"request-{self._num_submitted}",
                prompt=ids,
                sampling=s,
                seed=seed,
                max_new_tokens=min(s.max_tokens, self.max_context - len(ids)),
                detokenizer=Detokenizer(self.tokenizer),
                stops=StopStrings(s.stop),
                constraint=request.constraint,
                submitted=self._clock(),
            )
            retry = self._stats.retry_after_seconds(len(self.scheduler.waiting), self.scheduler.num_slots)
            self.scheduler.submit(sequence, retry)
            self._lock.notify_all()
        return Stream(sequence, self.abort)

    def abort(self, sequence: Sequence) -> None:
        """Forget a request: at once while it waits, before the next step when it runs."""
        with self._lock:
            sequence.aborted = True
            if sequence in self.scheduler.waiting:
                self._release(sequence, "abort")
            self._lock.notify_all()
        sequence.chunks.put(None)

    def stats(self) -> dict[str, Any]:
        """Gauges, counters and the latest latencies in seconds (bounded lists of raw numbers)."""
        with self._lock:
            return {
                "running": len(self.scheduler.running),
                "waiting": len(self.scheduler.waiting),
                "queue_tokens": self.scheduler.queue_tokens,
                "slots_free": len(self.scheduler.free_slots),
                "slots_total": self.scheduler.num_slots,
                "cache_bytes": self.cache.num_bytes,
                **self._stats.snapshot(),
            }

    def start(self) -> None:
        """Start the engine thread; nothing happens if it runs already."""
        with self._lock:
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._loop, name=f"engine {self.name}", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the engine thread; open streams get an error."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._lock.notify_all()
        if thread is not None:
            thread.join()
        self._fail_all(OwnlmError("The engine was stopped before the answer was complete.", "", "ask again"))

    # ---- the engine thread

    @torch.inference_mode()
    def step(self) -> bool:
        """One turn: sweep, admit, plan, then run each batch and hand out what it gave. False: nothing to do."""
        with self._turn:
            with self._lock:
                for sequence in [s for s in self.scheduler.running if s.aborted]:
                    self._release(sequence, "abort")
                admitted = self.scheduler.admit()
            for sequence in admitted:
                sequence.admitted_at = self._clock()
                self._guard(sequence, partial(ask_constraint, sequence, self.tokenizer.vocab_size))
            with self._lock:
                batches = self.scheduler.plan()
            for batch in batches:
                with runner.threads(self.model, batch):
                    self._run(batch)
            return bool(batches or admitted)

    def _run(self, batch: list[Row]) -> None:
        """One forward; rows with nothing pending any more get their next token."""
        try:
            logits = runner.forward(self.model, self.cache, batch)  # [B,V]
        except Exception as error:
            if len(batch) == 1:
                return self._fail(batch[0].sequence, error)
            for row in batch:  # one of them is to blame; alone, only it fails again
                self._run([row])
            return None
        for sequence, num_tokens in batch:
            self._stats.prompt_tokens += 0 if sequence.generated else num_tokens
            sequence.num_computed += num_tokens
        ready = [i for i, (s, _) in enumerate(batch) if s.num_pending == 0 and not s.aborted]
        if ready:
            sequences = [batch[i].sequence for i in ready]
            for sequence, token in zip(sequences, sampler.choose(logits[ready], sequences), strict=True):
                self._guard(sequence, partial(self._advance, sequence, token))
        return None

    def _advance(self, sequence: Sequence, token: int | OwnlmError) -> None:
        """Take a token, and after it every token that the constraint leaves no choice about; send what is new."""
        if isinstance(token, OwnlmError):
            raise token
        before = len(sequence.generated)
        accept(sequence, token, self.stop_ids, self.tokenizer.vocab_size)
        while self._forced_runs and not sequence.finished and sequence.allowed and len(sequence.allowed) == 1:
            accept(sequence, sequence.allowed[0], self.stop_ids, self.tokenizer.vocab_size)
        now = self._clock()
        self._stats.tokens(sequence, len(sequence.generated) - before, now)
        if chunk := drain(sequence, now):
            sequence.chunks.put(chunk)
        if sequence.finish_reason:
            with self._lock:
                self._release(sequence, sequence.finish_reason)

    def _guard(self, sequence: Sequence, work: Callable[[], None]) -> None:
        """Whatever goes wrong in one request's own work ends that request and no other."""
        try:
            work()
        except Exception as error:
            self._fail(sequence, error)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        if not isinstance(error, OwnlmError):
            wrapped = OwnlmError("A request failed inside the engine.", f"{type(error).__name__}: {error}",
                                 "the other requests go on; please report this")  # fmt: skip
            wrapped.__cause__ = error
            error = wrapped
        sequence.error = error
        with self._lock:
            self._release(sequence, "error")
        sequence.chunks.put(error)

    def _release(self, sequence: Sequence, reason: str) -> None:
        """Give the slot back (under the lock). A slot that may hold NaN is zeroed before anyone else gets it."""
        if reason in ("error", "abort") and sequence.slot >= 0:
            self.cache.clear(sequence.slot)
        self.scheduler.release(sequence)
        self._stats.end(sequence, reason, self._clock())

    def _fail_all(self, error: Exception) -> None:
        with self._lock:
            everyone = [*self.scheduler.waiting, *self.scheduler.running]
        for sequence in everyone:
            self._fail(sequence, error)

    def _loop(self) -> None:
        while True:
            with self._lock:
                while not (self._stopping or self.scheduler.waiting or self.scheduler.running):
                    self._lock.wait()
                if self._stopping:
                    return
            try:
                self.step()
            except Exception as error:  # a bug of ours: nobody may wait for ever because of it
                self._fail_all(error)
