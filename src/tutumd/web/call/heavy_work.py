"""Heavy work: what may take over 5 ms of a call, in two threads, so that other calls go on."""

import asyncio
from collections import Counter
from collections.abc import Callable
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from tutumd.errors import UnavailableError
from tutumd.model import Call, HandlerPath

MAX_AT_ONCE = 2
MAX_BYTES = 64 * 1024 * 1024
SHARE = 4
"""The calls of a handler take at most this part of what those of the others leave: a quarter."""
CALL_BYTES = 16 * 1024  # about what a call takes in memory beside its body


class HeavyWork:
    """Performs the heavy work of calls, one at a time of each handler, so that no handler holds up the others."""

    def __init__(self) -> None:
        self._bytes = Counter[HandlerPath]()
        self._threads = anyio.CapacityLimiter(MAX_AT_ONCE)
        self._turns = WeakValueDictionary[HandlerPath, asyncio.Lock]()

    async def run(self, path: HandlerPath, body_size: int, work: Callable[[], Call]) -> Call:
        """Return what `work` returns.

        Raises:
            UnavailableError: Too many bytes of this handler wait, for what the others leave.
        """
        size, own = body_size + CALL_BYTES, self._bytes[path]
        if own + size > (MAX_BYTES - self._bytes.total() + own) // SHARE:
            raise UnavailableError("too many calls wait to be checked; try again in a moment")
        self._bytes[path] += size
        try:
            async with self._turns.setdefault(path, asyncio.Lock()):
                return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._bytes[path] -= size
            if not self._bytes[path]:
                del self._bytes[path]
