"""Lookups of handlers that this process does not remember: those that come during one read share the next."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import EvaluationNeeded, HandlerPath

Found = Mapping[HandlerPath, EvaluationNeeded]


class Lookups:
    """Reads handlers for one event loop, in a thread of its own: the API's may all wait for the database."""

    def __init__(self, read: Callable[[Sequence[HandlerPath]], Found]) -> None:
        self._read = read
        self._turn, self._thread = asyncio.Lock(), anyio.CapacityLimiter(1)
        self._next: tuple[list[HandlerPath], asyncio.Future[Found]] | None = None

    async def find(self, path: HandlerPath) -> EvaluationNeeded:
        """Return the options of a handler as they are now.

        Raises:
            NotFoundError: There is no such handler below this service.
            UnavailableError: The database cannot be read.
        """
        batch = paths, found = self._next = self._next or ([], asyncio.get_running_loop().create_future())
        paths.append(path)
        async with self._turn:
            if batch is self._next:  # else another call of the batch has read it
                self._next = None
                try:
                    found.set_result(await anyio.to_thread.run_sync(self._read, paths, limiter=self._thread))
                except Exception as error:  # noqa: BLE001 (each call of the batch gets it, and responds)
                    found.set_exception(error)
        needed = (await found).get(path)
        if needed is None:
            raise NotFoundError(NOT_FOUND)
        return needed
