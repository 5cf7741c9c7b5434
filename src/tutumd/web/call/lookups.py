"""Lookups of handlers that this process has not cached: lookups that arrive during one read share the next read."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.model import EvaluationNeeded, HandlerPath
from tutumd.web.call.batches import MAX_STALL_S, STALLED

MAX_PATHS = 1_000  # in one read, and waiting for the next read
Found = Mapping[HandlerPath, EvaluationNeeded]


class Lookups:
    """Reads handlers for one event loop, in a separate thread: the API's threads may all wait for the database."""

    def __init__(self, read: Callable[[Sequence[HandlerPath]], Found]) -> None:
        self._read = read
        self._thread = anyio.CapacityLimiter(1)
        self._reading = asyncio.Lock()
        self._next: tuple[set[HandlerPath], asyncio.Task[Found]] | None = None
        self._began = 0.0

    async def find(self, path: HandlerPath) -> EvaluationNeeded:
        """Return the current options of a handler.

        Raises:
            NotFoundError: There is no such handler below this service.
            UnavailableError: The database cannot be read, or has not responded for `MAX_STALL_S`.
        """
        if self._reading.locked() and time.monotonic() - self._began > MAX_STALL_S:
            raise UnavailableError(STALLED)
        if self._next is None:
            batch = set[HandlerPath]()
            self._next = batch, asyncio.create_task(self._read_all(batch))
        paths, found = self._next
        if len(paths) >= MAX_PATHS:
            raise UnavailableError("too many calls are waiting for their handlers; try again in a moment")
        paths.add(path)
        try:
            handlers = await asyncio.wait_for(asyncio.shield(found), MAX_STALL_S)
        except TimeoutError:
            raise UnavailableError(STALLED) from None
        if path not in handlers:
            raise NotFoundError(NOT_FOUND)
        return handlers[path]

    async def _read_all(self, paths: set[HandlerPath]) -> Found:
        """Read the handlers of a batch once the previous read has ended; until then, the batch grows."""
        async with self._reading:
            self._next, self._began = None, time.monotonic()
            return await anyio.to_thread.run_sync(self._read, list(paths), limiter=self._thread)
