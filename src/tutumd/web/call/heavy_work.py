"""Heavy work: parts of a call that may take over 5 ms run in two threads, so that other calls continue."""

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
"""The calls of one handler take at most this share of the room that the other handlers leave: a quarter."""
CALL_BYTES = 16 * 1024  # approximate memory of a call beside its body


class HeavyWork:
    """Performs the heavy work of calls, one call per handler at a time, so that no handler delays the others."""

    def __init__(self) -> None:
        self._bytes = Counter[HandlerPath]()
        self._threads = anyio.CapacityLimiter(MAX_AT_ONCE)
        self._turns = WeakValueDictionary[HandlerPath, asyncio.Lock]()

    async def run(self, path: HandlerPath, body_size: int, work: Callable[[], Call]) -> Call:
        """Return the result of `work`.

        Raises:
            UnavailableError: The waiting calls of this handler exceed its share of the room that other handlers leave.
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
