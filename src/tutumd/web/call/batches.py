"""Work of calls that other calls do not wait for, lookups of handlers, and batches of calls stored together."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from weakref import WeakValueDictionary

import anyio.to_thread

from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.model import Call, EvaluationNeeded, HandlerPath
from tutumd.ports import CallResult, Intake
from tutumd.web.errors import log_unforeseen

MAX_BYTES = 64 * 1024 * 1024
SHARE = 4
"""The calls of one handler take at most this share of the room that the other handlers leave: a quarter."""
CALL_BYTES = 16 * 1024  # approximate memory of a call beside its body


class HeavyWork:
    """Performs the heavy work of calls, one call per handler at a time, so that no handler delays the others."""

    def __init__(self) -> None:
        self._bytes = Counter[HandlerPath]()
        self._threads = anyio.CapacityLimiter(2)
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


MAX_BATCH = 256
MAX_WAITING = 10_000
MAX_STALL_S = 10.0
"""If the database has accepted no calls for this long, calls are refused immediately: a proxy can try another
replica.
"""

STALLED = "the database has not responded for a while; nothing was changed, try again"

OnResult = Callable[[CallResult], None]


class Batches:
    """Hands calls to the intake in batches. An instance serves one event loop.

    A batch contains the calls that arrived while the previous batch was stored. The event loop does all of the
    bookkeeping. The intake's thread is woken once per batch and wakes the loop once after storing it, because each
    switch between threads costs as much as a call.
    """

    def __init__(self, intake: Intake, count_batch: Callable[[int], None] = lambda size: None) -> None:
        """Create it; `count_batch` is called with the number of calls in each batch."""
        self._intake = intake
        self._count_batch = count_batch
        self._waiting: deque[tuple[Call, OnResult]] = deque()
        self._is_busy = False

    async def store(self, call: Call) -> CallResult:
        """Store a call and return its result as soon as the call is on disk or refused."""
        result: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()
        self.submit(call, lambda value: None if result.done() else result.set_result(value))
        return await result

    def submit(self, call: Call, on_result: OnResult) -> None:
        """Store a call, and pass its result to `on_result` in this event loop."""
        if len(self._waiting) >= MAX_WAITING:
            on_result(UnavailableError("too many calls are waiting to be stored; try again in a moment"))
            return
        if (self._intake.failing_s() or 0.0) > MAX_STALL_S:
            on_result(UnavailableError(STALLED))
            return
        self._waiting.append((call, on_result))
        if not self._is_busy:
            self._is_busy = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        self._count_batch(len(batch))

        def on_stored(results: Sequence[CallResult]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._distribute, loop, batch, results)

        self._timer = loop.call_later(MAX_STALL_S, self._refuse_waiting)
        self._intake.store([call for call, _ in batch], on_stored)

    def _refuse_waiting(self) -> None:
        """Refuse the calls that wait behind a batch that cannot be stored."""
        refused, self._waiting = self._waiting, deque()
        for _, on_result in refused:
            on_result(UnavailableError(STALLED))

    def _distribute(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[tuple[Call, OnResult]], results: Sequence[CallResult]
    ) -> None:
        self._timer.cancel()
        for (_, on_result), result in zip(batch, results, strict=True):
            try:
                on_result(result)
            except Exception as error:  # noqa: BLE001 (the other calls need their results)
                log_unforeseen(error)
        self._is_busy = bool(self._waiting)
        if self._waiting:
            loop.call_soon(self._begin, loop)


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
