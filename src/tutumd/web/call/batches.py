"""Batches: calls that arrive at the same time are stored together, one batch at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from tutumd.errors import UnavailableError
from tutumd.model import Call
from tutumd.ports.intake import CallResult, Intake
from tutumd.web.errors import log_unforeseen

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
        self._timer: asyncio.TimerHandle

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
