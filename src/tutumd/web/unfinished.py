"""Unfinished requests: their total memory, and the choice of requests to drop if it is too much."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

MAX_BYTES = 32 * 1024 * 1024
YOUNG_S = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Unfinished:
    """A request whose head or body is incomplete.

    Attributes:
        drop: Ends the request.
        holder: The client that sends the request.
        size: Bytes of the request; 0 while it is not counted.
    """

    drop: Callable[[], None]
    holder: str = ""
    size: int = 0
    began: float = 0.0


class UnfinishedRequests:
    """The unfinished requests of one event loop, within one budget, so that one client cannot exhaust the memory.

    Beyond the budget, the slowest requests of the client with the largest total are dropped.
    """

    def __init__(
        self,
        read_client: Callable[[Scope], str],
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create it with a function that returns the client of a request whose head is complete."""
        self.read_client, self._max_bytes, self._clock = read_client, max_bytes, clock
        self._requests: set[Unfinished] = set()
        self._total = 0

    def hold(self, request: Unfinished, holder: str, size: int) -> None:
        """Count the current size of a request, and drop requests while the total is too large."""
        if not request.size:
            request.began = self._clock()
            self._requests.add(request)
        self._total += size - request.size
        request.holder, request.size = holder, size
        while self._total > self._max_bytes:
            self._drop_slowest()

    def release(self, request: Unfinished) -> None:
        """Stop counting a request: it is complete, or its connection is gone."""
        self._requests.discard(request)
        self._total -= request.size
        request.size = 0

    def _drop_slowest(self) -> None:
        """Drop an eighth of the largest holder's requests, so that sorting is rare."""
        now = self._clock()
        sizes: Counter[str] = Counter()
        for request in self._requests:
            sizes[request.holder] += request.size
        largest = max(sizes, key=sizes.__getitem__)
        held = [request for request in self._requests if request.holder == largest]
        # A request that has just begun may be as fast as any.
        held.sort(key=lambda r: (now - r.began < YOUNG_S, r.size / (now - r.began + 0.001)))
        for request in held[: len(held) // 8 + 1]:
            self.release(request)
            request.drop()
