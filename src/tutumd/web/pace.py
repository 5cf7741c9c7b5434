"""The pace of requests other than calls to cached handlers: most of the event loop's time is reserved for those
calls.
"""

import asyncio
import time
from weakref import WeakKeyDictionary

PAUSE_RATIO = 5
"""How many times as long as a begin the pause after it is: most requests have more work than that of their begin."""
MIN_PAUSE_S = 0.001
"""So that the event loop waits in the kernel: the threads that store calls need Python's lock, and come too late for it
if the loop gives it up for microseconds only. Without this pause, the 99th percentile of a call was 200 ms."""
MAX_PAUSE_S = 0.05
BURST_S = 0.05
"""Pauses of this length in all are left out, so that a page and what belongs to it begin at once."""


class _Turn:
    """The holder of the turn in one event loop, and the time until which the pauses after earlier turns would last."""

    def __init__(self) -> None:
        self.lock, self.end_s = asyncio.Lock(), 0.0


class Pace:
    """Lets requests begin one at a time.

    Before the next request begins, the event loop has time for other work: five times as long as the last begin took,
    including concurrent work. So the more a request costs, the longer similar requests wait. Only the pauses of a short
    burst are skipped.
    """

    def __init__(self) -> None:
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn]()

    async def wait(self) -> None:
        """Wait until a request may begin."""
        loop = asyncio.get_running_loop()
        turn = self._turns.setdefault(loop, _Turn())
        await turn.lock.acquire()
        # In the second round from now, the request has run until its first wait.
        loop.call_soon(loop.call_soon, _leave_time, loop, turn, time.monotonic())


def _leave_time(loop: asyncio.AbstractEventLoop, turn: _Turn, began_s: float) -> None:
    now = time.monotonic()
    pause_s = max(PAUSE_RATIO * (now - began_s), MIN_PAUSE_S)
    turn.end_s = min(max(turn.end_s, now) + pause_s, now + BURST_S + MAX_PAUSE_S)
    loop.call_later(max(turn.end_s - now - BURST_S, 0), turn.lock.release)
