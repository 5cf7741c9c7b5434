"""Heavy work: what may take over 5 ms of a call, in two threads, so that other calls go on."""

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from tutumd.errors import UnavailableError
from tutumd.model import Call, HandlerPath

MAX_AT_ONCE = 2
MAX_BYTES = 64 * 1024 * 1024
CALL_BYTES = 16 * 1024  # about what a call takes in memory beside its body


class HeavyWork:
    """Performs the heavy work of calls, one at a time of each handler, so that no handler holds up the others."""

    def __init__(self) -> None:
        self._bytes = 0
        self._threads = anyio.CapacityLimiter(MAX_AT_ONCE)
        self._turns = WeakValueDictionary[HandlerPath, asyncio.Lock]()

    async def run(self, path: HandlerPath, body_size: int, work: Callable[[], Call]) -> Call:
        """Return what `work` returns. Raises UnavailableError if too many bytes wait."""
        if self._bytes + body_size + CALL_BYTES > MAX_BYTES:
            raise UnavailableError("too many calls wait to be checked; try again in a moment")
        self._bytes += body_size + CALL_BYTES
        try:
            async with self._turns.setdefault(path, asyncio.Lock()):
                return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._bytes -= body_size + CALL_BYTES
