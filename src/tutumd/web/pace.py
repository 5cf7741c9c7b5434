"""The pace of requests other than calls of remembered handlers: most of the event loop's time is left to those."""

import asyncio
import time
from weakref import WeakKeyDictionary

PAUSE_RATIO = 5
"""How many times as long as a begin the pause after it is: most requests have more work than that of their begin."""
MIN_PAUSE_S = 0.001
"""So that the event loop waits in the kernel: the threads that store calls need Python's lock, and come too late for it
if the loop gives it up for microseconds only. Without this pause, the 99th percentile of a call was 200 ms."""
MAX_PAUSE_S = 0.05


class Pace:
    """Lets requests begin one at a time.

    Before the next request begins, the event loop has time for other work: five times as long as the last begin took,
    together with what ran beside it. So the more a request costs, the longer the others like it wait.
    """

    def __init__(self) -> None:
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()

    async def wait(self) -> None:
        """Wait until a request may begin."""
        loop = asyncio.get_running_loop()
        turn = self._turns.setdefault(loop, asyncio.Lock())
        await turn.acquire()
        # In the second round from now, the request has run until it waits for something.
        loop.call_soon(loop.call_soon, _leave_time, loop, turn, time.monotonic())


def _leave_time(loop: asyncio.AbstractEventLoop, turn: asyncio.Lock, began_s: float) -> None:
    loop.call_later(min(max(PAUSE_RATIO * (time.monotonic() - began_s), MIN_PAUSE_S), MAX_PAUSE_S), turn.release)
