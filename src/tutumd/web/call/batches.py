"""Batches: calls that arrive together are stored together, one batch at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from tutumd.errors import UnavailableError
from tutumd.model import Call
from tutumd.ports import CallResult, Intake
from tutumd.web.errors import log_unforeseen

MAX_BATCH = 256
MAX_WAITING = 10_000
PAUSE_S = 0.0005
MAX_PAUSES = 20
"""How often a batch waits for more calls while they keep coming in."""


class Batches:
    """Hands calls to the intake in batches. For one event loop.

    A batch is what came in while the one before it was stored and answered. All of its bookkeeping is done by the event
    loop: the intake's thread is woken once for a batch, and wakes the loop once when it is stored. Each time that the
    two threads take the interpreter from each other costs as much as a call.
    """

    def __init__(self, intake: Intake) -> None:
        """Take what stores calls."""
        self._intake = intake
        self._waiting: deque[tuple[Call, Callable[[CallResult], None]]] = deque()
        self._is_busy = False
        self._expected = 1
        self._pause: asyncio.TimerHandle | None = None

    def store(self, call: Call, tell: Callable[[CallResult], None]) -> None:
        """Store a call; `tell` gets its result in this event loop, once it is on disk or refused."""
        if len(self._waiting) >= MAX_WAITING:
            tell(UnavailableError("too many calls are waiting to be stored; try again in a moment"))
            return
        self._waiting.append((call, tell))
        if not self._is_busy:
            self._is_busy = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._consider, loop, 0, 0)
        elif self._pause is not None and len(self._waiting) >= self._expected:
            self._pause.cancel()
            self._begin(asyncio.get_running_loop())

    def _consider(self, loop: asyncio.AbstractEventLoop, seen: int, pauses: int) -> None:
        """Begin a batch, or let more come: senders that were answered send again.

        Two small batches that alternate take twice as long as a large one. A call that is alone does not wait.
        """
        here = len(self._waiting)
        if seen < here < self._expected and pauses < MAX_PAUSES:
            self._pause = loop.call_later(PAUSE_S, self._consider, loop, here, pauses + 1)
        else:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pause = None
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]

        def tell(results: Sequence[CallResult]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._hand_out, loop, batch, results)

        self._intake.store([call for call, _ in batch], tell)

    def _hand_out(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[tuple[Call, Callable[[CallResult], None]]],
        results: Sequence[CallResult],
    ) -> None:
        for (_, tell), result in zip(batch, results, strict=True):
            try:
                tell(result)
            except Exception as error:  # noqa: BLE001 (the others, and all later calls, are to be answered)
                log_unforeseen(error)
        self._expected = min(MAX_BATCH, len(batch) + len(self._waiting))
        self._is_busy = bool(self._waiting)
        if self._waiting:
            loop.call_soon(self._consider, loop, 0, 0)
