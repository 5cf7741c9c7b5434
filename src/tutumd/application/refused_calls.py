"""Limit of refused calls, so that nobody can guess the secret of a handler. Each process counts separately."""

import math
import time
from collections.abc import Callable

from tutumd.application.admission.addresses import client_network
from tutumd.errors import TooManyCallsError

MAX_REFUSED = 100
"""Refused calls that a client can make to a handler in a burst."""

REFILL_S = 60.0
"""Time after which the full number is available again. Calls become available at a constant rate."""

MAX_CLIENTS = 10_000
"""Clients and handlers that are kept in memory, each about 300 bytes. The least recent caller is removed first."""

_KNOWS_SECRET = -math.inf


class RefusedCalls:
    """Counts refused calls by handler and client.

    A client that has sent an authentic call is not limited: others behind its address cannot block its calls.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._full_at: dict[tuple[str, str], float] = {}

    def check(self, handler_uuid: str, address: str) -> None:
        """Raise TooManyCallsError if a client has to wait before its next call. Run this check before any inspection of
        the call.
        """
        wait_s = self.wait_s(handler_uuid, address)
        if wait_s > 0:
            raise TooManyCallsError(
                f"too many calls from {address} were refused: check the secret", retry_after_s=math.ceil(wait_s)
            )

    def wait_s(self, handler_uuid: str, address: str) -> float:
        """Return for how many seconds a client has to wait before its next call; 0 or less if it need not wait."""
        full_at = self._full_at.get((handler_uuid, client_network(address)), 0.0)
        return full_at + REFILL_S / MAX_REFUSED - REFILL_S - self._monotonic()

    def record(self, handler_uuid: str, address: str, *, is_refused: bool) -> None:
        """Count a refused call, or note that its client knows the secret."""
        client = (handler_uuid, client_network(address))
        full_at = self._full_at.pop(client, 0.0)
        if not is_refused:
            full_at = _KNOWS_SECRET
        elif full_at != _KNOWS_SECRET:
            full_at = max(full_at, self._monotonic()) + REFILL_S / MAX_REFUSED
        self._full_at[client] = full_at
        if len(self._full_at) > MAX_CLIENTS:
            del self._full_at[next(iter(self._full_at))]
