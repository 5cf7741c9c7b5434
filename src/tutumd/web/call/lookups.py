"""Lookups of handlers that this process does not remember: those that come during one read share the next."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.model import EvaluationNeeded, HandlerPath
from tutumd.web.call.batches import MAX_STALL_S, STALLED

MAX_PATHS = 1_000  # in one read, and waiting for the next one
Found = Mapping[HandlerPath, EvaluationNeeded]


class Lookups:
    """Reads handlers for one event loop, in a thread of its own: the API's may all wait for the database."""

    def __init__(self, read: Callable[[Sequence[HandlerPath]], Found]) -> None:
        self._read = read
        self._thread = anyio.CapacityLimiter(1)
        self._next: tuple[set[HandlerPath], asyncio.Future[Found]] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._began = 0.0

    async def find(self, path: HandlerPath) -> EvaluationNeeded:
        """Return the options of a handler as they are now.

        Raises:
            NotFoundError: There is no such handler below this service.
            UnavailableError: The database cannot be read, or has not responded for `MAX_STALL_S`.
        """
        loop = asyncio.get_running_loop()
        if self._reading is not None and loop.time() - self._began > MAX_STALL_S:
            raise UnavailableError(STALLED)
        paths, found = self._next = self._next or (set(), loop.create_future())
        if len(paths) >= MAX_PATHS:
            raise UnavailableError("too many calls are waiting for their handlers; try again in a moment")
        paths.add(path)
        if self._reading is None:
            self._reading, self._began = asyncio.create_task(self._read_all()), loop.time()
        try:
            handlers: Found = await asyncio.wait_for(asyncio.shield(found), self._began + MAX_STALL_S - loop.time())
        except TimeoutError:
            raise UnavailableError(STALLED) from None
        if path not in handlers:
            raise NotFoundError(NOT_FOUND)
        return handlers[path]

    async def _read_all(self) -> None:
        """Read what is asked for, until nothing is."""
        try:
            while self._next is not None:
                (paths, found), self._next = self._next, None
                self._began = asyncio.get_running_loop().time()
                try:
                    found.set_result(await anyio.to_thread.run_sync(self._read, list(paths), limiter=self._thread))
                except Exception as error:  # noqa: BLE001 (each call of the batch gets it, and responds)
                    found.set_exception(error)
        finally:
            self._reading = None
