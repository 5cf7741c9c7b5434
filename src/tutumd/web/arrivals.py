"""Brings what other threads finished into the event loop: all that is ready, with one wake-up."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Waits for futures of other threads. `asyncio.wrap_future` would wake the loop once for each of a batch."""

    def __init__(self) -> None:
        """Take nothing yet: the loop is the one that first waits."""
        self._arrived: deque[asyncio.Future[None]] = deque()
        self._is_woken = False

    async def wait(self, future: "Future[T]") -> T:
        """Wait for the result of a future. Whoever stops waiting cancels it."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def arrive(_: "Future[T]") -> None:
            self._arrived.append(waiter)
            if not self._is_woken and not loop.is_closed():
                self._is_woken = True
                loop.call_soon_threadsafe(self._hand_out)

        future.add_done_callback(arrive)
        try:
            await waiter
        except asyncio.CancelledError:
            future.cancel()
            raise
        return future.result()

    def _hand_out(self) -> None:
        # In this order: what arrives from here on wakes the loop anew.
        self._is_woken = False
        while self._arrived:
            waiter = self._arrived.popleft()
            if not waiter.done():
                waiter.set_result(None)
