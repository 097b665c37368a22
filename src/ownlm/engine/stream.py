"""An answer as it appears: an iterator of chunks that can be closed at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from ownlm.engine.sequence import Sequence
from ownlm.errors import OwnlmError
from ownlm.records import Chunk


class Stream(Iterator[Chunk]):
    """Yields chunks, the last with a finish_reason; raises the request's OwnlmError if it fails on the way.

    `close` (also: leaving a `with` block, or dropping the stream) aborts the request and frees its slot.
    One thread iterates; any thread may close.
    """

    def __init__(self, sequence: Sequence, abort: Callable[[Sequence], None]) -> None:
        self.sequence = sequence
        self._abort = abort
        self._done = False

    def __next__(self) -> Chunk:
        if self._done:
            raise StopIteration
        item = self.sequence.chunks.get()
        if item is None:  # aborted
            self._done = True
            raise StopIteration
        if isinstance(item, OwnlmError):
            self._done = True
            raise item
        self._done = item.finish_reason is not None
        return item

    def close(self) -> None:
        if not self._done:
            self._done = True
            self._abort(self.sequence)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
