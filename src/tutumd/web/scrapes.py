"""Scrapes of `/metrics`: access, and one read of the database for all simultaneous scrapes."""

import asyncio
import hmac
from collections.abc import Callable, Sequence

import anyio.to_thread

from tutumd import metrics
from tutumd.application.admission.headers import Network, allows
from tutumd.errors import UnavailableError
from tutumd.metrics import CallMetrics
from tutumd.model import Figures

TIMEOUT_S = 4.0
"""How long a scrape waits for the database: less than Prometheus waits for a scrape."""


class Scrapes:
    """Renders the metrics for clients with access. An instance serves one event loop.

    Attributes:
        token: Clients that send it may read the metrics; empty: no token is accepted.
    """

    def __init__(
        self,
        read: Callable[[], Figures],
        version: str,
        *,
        token: str = "",
        networks: Sequence[Network] = (),
    ) -> None:
        """Allow access for clients that send the token, and for clients in the networks.

        Args:
            read: Returns the current figures, or raises UnavailableError.
        """
        self.token = token
        self._read_figures = read
        self._version = version
        self._networks = networks
        self._reading: asyncio.Task[Figures | None] | None = None
        # Separate from the threads of the API, which may all wait for the same database.
        self._threads = anyio.CapacityLimiter(4)

    def is_open_to(self, authorization: str, address: str) -> bool:
        """Return whether a client may read the metrics, by its header and its address; empty: the address is
        unknown.
        """
        scheme, _, sent = authorization.strip().partition(" ")
        has_token = scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), self.token.encode())
        return (has_token and bool(self.token)) or allows(self._networks, address)

    async def render(self, calls: CallMetrics, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type. If the database cannot be read, the metrics say so."""
        return await anyio.to_thread.run_sync(
            metrics.render, calls, await self._read(), self._version, accept, limiter=self._threads
        )

    async def _read(self) -> Figures | None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_now())
        reading = self._reading  # the next scrape may begin another read
        await asyncio.wait([reading], timeout=TIMEOUT_S)
        return reading.result() if reading.done() else None

    async def _read_now(self) -> Figures | None:
        try:
            return await anyio.to_thread.run_sync(self._read_figures, limiter=self._threads, abandon_on_cancel=True)
        except UnavailableError:
            return None
