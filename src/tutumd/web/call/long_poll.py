"""Waiting for the end of actions: one look at the database for all who wait, however many they are."""

import asyncio
from collections.abc import Sequence

import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.model import Progress
from tutumd.ports import Store

POLL_S = 0.2
_PART = 500

Reference = tuple[int, int]
"""A handler's and an action's number."""


class Waits:
    """Those who wait, in one event loop. While nobody does, nothing is looked at."""

    def __init__(self, store: Store) -> None:
        """Take where actions are read."""
        self._store = store
        self._waiting: dict[Reference, set[asyncio.Future[Progress]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def until_ended(self, reference: Reference, timeout_s: float) -> Progress:
        """Wait until an action has ended or the time is over, and tell how it stands.

        Raises:
            NotFoundError: The handler is gone.
            UnavailableError: The database cannot be read.
        """
        progress = await self.look(reference)
        if progress.action.ended is not None or timeout_s <= 0:
            return progress
        waiter: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(reference, set()).add(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._watch())
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return await self.look(reference)
        finally:
            waiters = self._waiting.get(reference, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(reference, None)

    async def look(self, reference: Reference) -> Progress:
        """Tell how an action stands. Raises NotFoundError, UnavailableError."""
        found = await anyio.to_thread.run_sync(self._store.progress, [reference])
        if reference not in found:
            raise NotFoundError(NOT_FOUND)
        return found[reference]

    async def _watch(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_S)
            wanted = list(self._waiting)
            for start in range(0, len(wanted), _PART):
                await self._tell(wanted[start : start + _PART])

    async def _tell(self, part: Sequence[Reference]) -> None:
        try:
            found = await anyio.to_thread.run_sync(self._store.progress, part)
        except UnavailableError:
            return  # it may be back before those who wait give up
        for reference in part:
            progress = found.get(reference)
            for waiter in self._waiting.get(reference, ()):
                if waiter.done():
                    continue
                if progress is None:
                    waiter.set_exception(NotFoundError(NOT_FOUND))
                elif progress.action.ended is not None:
                    waiter.set_result(progress)
