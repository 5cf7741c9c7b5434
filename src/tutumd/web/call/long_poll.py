"""Long polls: requests that wait for the end of actions, with one database read for all of them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import chain

import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.model import Progress, Reference
from tutumd.model.groups import GROUP_CALL, GroupCall
from tutumd.ports import Store

_POLL_S = 0.5
# The pause after a read, as a multiple of the read's duration: under constant load, the database is read a third of the
# time.
_PAUSE_PER_READ = 2.0
_MAX_PAUSE_S = 0.1
_READ_AT_ONCE = 500

AnyProgress = Progress | GroupCall


class LongPoll:
    """The waiting requests of one event loop. The database is read only while requests wait."""

    def __init__(self, store: Store, poll_s: float = _POLL_S) -> None:
        """Begin without a waiting request.

        Args:
            poll_s: Pause between reads while no action is known to have ended.
        """
        self._store = store
        self._poll_s = poll_s
        self._waiting: dict[Reference, set[asyncio.Future[AnyProgress | None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Return the current progress to all requests that wait, and immediately to later requests: the server is
        stopping.
        """
        self._is_stopped = True
        for waiter in chain.from_iterable(self._waiting.values()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait_until_ended(self, reference: Reference, timeout_s: float) -> AnyProgress:
        """Return the progress of an action or of a group call when it has ended or the time is over.

        Raises:
            NotFoundError: The action was deleted.
            UnavailableError: The database cannot be read.
        """
        if timeout_s <= 0 or self._is_stopped:
            return await self._read(reference)
        # Before the first read, so that an end right after it is not missed.
        waiter: asyncio.Future[AnyProgress | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(reference, set()).add(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._poll())
        try:
            progress = await self._read(reference)
            if progress.is_ended:
                return progress
            await asyncio.wait([waiter], timeout=timeout_s)
            return (waiter.done() and waiter.result()) or await self._read(reference)
        finally:
            self._waiting[reference].remove(waiter)
            if not self._waiting[reference]:
                del self._waiting[reference]

    async def _read(self, reference: Reference) -> AnyProgress:
        progress = (await anyio.to_thread.run_sync(self._read_all, [reference])).get(reference)
        if progress is None:
            raise NotFoundError(NOT_FOUND)
        return progress

    def _read_all(self, references: Sequence[Reference]) -> Mapping[Reference, AnyProgress]:
        of_groups = [reference for reference in references if reference.amount == GROUP_CALL]
        others = [reference for reference in references if reference.amount != GROUP_CALL]
        calls = self._store.group_progress(of_groups) if of_groups else {}
        return {**calls, **(self._store.progress(others) if others else {})}

    async def _poll(self) -> None:
        seen = 0
        while self._waiting:
            seen = await anyio.to_thread.run_sync(self._store.wait_for_end, seen, self._poll_s, abandon_on_cancel=True)
            began = time.monotonic()
            references = list(self._waiting)
            for start in range(0, len(references), _READ_AT_ONCE):
                await self._wake(references[start : start + _READ_AT_ONCE])
            await asyncio.sleep(min(_PAUSE_PER_READ * (time.monotonic() - began), _MAX_PAUSE_S))

    async def _wake(self, references: Sequence[Reference]) -> None:
        try:
            progress_by_reference = await anyio.to_thread.run_sync(self._read_all, references)
        except UnavailableError:
            return  # the database may recover before the requests time out
        for reference in references:
            progress = progress_by_reference.get(reference)
            for waiter in self._waiting.get(reference, ()):
                if not waiter.done() and (progress is None or progress.is_ended):
                    waiter.set_result(progress)  # None: the request's own read found no action
