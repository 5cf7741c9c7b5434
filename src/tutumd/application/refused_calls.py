"""Limit of refused calls and sign-ins, so that nobody can guess a secret. Each process counts separately."""

import math
import time
from collections.abc import Callable
from threading import Lock

from tutumd.application.admission.headers import client_network
from tutumd.errors import TooManyCallsError

MAX_REFUSED = 100
"""Refused calls that a client can make to a handler within a minute."""

WINDOW_S = 60.0
MAX_CLIENTS = 10_000
"""Pairs of subject and client that are kept in memory, each about 400 bytes. The least recent pair is removed first."""

_KNOWS_SECRET = (math.inf, -math.inf)


class RefusedCalls:
    """Counts refused calls by subject and client: a client with too many waits until the minute of the first is over.

    A subject is a handler, or something else that has a secret. A client that has sent an authentic call is not
    limited: others behind its address cannot block its calls.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, max_refused: int = MAX_REFUSED) -> None:
        self._monotonic, self._max_refused = monotonic, max_refused
        self._counts: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = Lock()

    def check(self, subject: str, address: str) -> None:
        """Raise TooManyCallsError if a client has to wait before its next call. Run this check before any inspection of
        the call.
        """
        wait_s = self.wait_s(subject, address)
        if wait_s > 0:
            raise TooManyCallsError(
                f"too many calls from {address} were refused: check the secret", retry_after_s=math.ceil(wait_s)
            )

    def wait_s(self, subject: str, address: str) -> float:
        """Return for how many seconds a client has to wait before its next call; 0 if it may call now."""
        began, count = self._read((subject, client_network(address)))
        return began + WINDOW_S - self._monotonic() if count >= self._max_refused else 0.0

    def knows_secret(self, subject: str, address: str) -> bool:
        """Return whether a client has sent an authentic call."""
        return self._counts.get((subject, client_network(address))) == _KNOWS_SECRET

    def record(self, subject: str, address: str, *, is_refused: bool) -> None:
        """Count a call, or note that its client knows the secret."""
        client = (subject, client_network(address))
        with self._lock:
            began, count = self._read(client) if is_refused else _KNOWS_SECRET
            self._counts.pop(client, None)
            self._counts[client] = (began, count + 1)
            if len(self._counts) > MAX_CLIENTS:
                del self._counts[next(iter(self._counts))]

    def _read(self, client: tuple[str, str]) -> tuple[float, float]:
        """Return when the present minute of a client's refused calls began, and how many there were."""
        now = self._monotonic()
        began, count = self._counts.get(client, (now, 0))
        return (began, count) if now - began < WINDOW_S else (now, 0)
