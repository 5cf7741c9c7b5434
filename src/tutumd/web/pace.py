"""The pace of requests other than calls to cached handlers: most of the event loop's time is reserved for those
calls.
"""

import asyncio
import time

PAUSE_RATIO = 5
"""How many times as long as a begin the pause after it is: most requests have more work than that of their begin."""
MIN_PAUSE_S = 0.001
"""So that the event loop waits in the kernel: the threads that store calls need Python's lock, and come too late for it
if the loop gives it up for microseconds only. Without this pause, the 99th percentile of a call was 200 ms."""
MAX_PAUSE_S = 0.05
BURST_S = 0.05
"""Pauses of this length in all are left out, so that a page and what belongs to it begin at once."""


class Pace:
    """Lets requests begin one at a time. An instance serves one event loop.

    Before the next request begins, the event loop has time for other work: five times as long as the last begin took,
    including concurrent work. So the more a request costs, the longer similar requests wait. Only the pauses of a short
    burst are skipped.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._pauses_end_s = 0.0

    async def wait(self) -> None:
        """Wait until a request may begin."""
        loop = asyncio.get_running_loop()
        await self._turn.acquire()
        # In the second round from now, the request has run until its first wait.
        loop.call_soon(loop.call_soon, self._leave_time, loop, time.monotonic())

    def _leave_time(self, loop: asyncio.AbstractEventLoop, began_s: float) -> None:
        now = time.monotonic()
        pause_s = max(PAUSE_RATIO * (now - began_s), MIN_PAUSE_S)
        self._pauses_end_s = min(max(self._pauses_end_s, now) + pause_s, now + BURST_S + MAX_PAUSE_S)
        loop.call_later(max(self._pauses_end_s - now - BURST_S, 0), self._turn.release)
