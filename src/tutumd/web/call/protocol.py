"""HTTP/1.1 as uvicorn reads it, with limits on what comes before a body, and error responses in our form."""

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_URL = 16 * 1024
MAX_HEAD = 64 * 1024
HEAD_S = 20.0
"""How long the head of a request may take. It is checked as often, so that it can take twice as long."""
FIRST_REQUEST_S = 1.0
"""How long a server that ends waits for the first request of a connection that it accepted already."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a URL or headers without end: the parser would keep all of them in memory.

    Headers that are complete within one read of the event loop (256 KiB) pass.
    """

    _shutdown_timer: asyncio.TimerHandle | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _bytes_since_progress = 0
    """Bytes received since the parser last completed a head or a piece of a body."""
    _refusal = (HTTPStatus.BAD_REQUEST, "this is not a valid HTTP/1.1 request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_S, self._check_head, None)

    def _check_head(self, last: RequestResponseCycle | None) -> None:
        """Close a connection whose next head is incomplete. Keep-alive closes one between two requests.

        The check runs at intervals, since starting a timer for each request costs too much.
        """
        lacks_head = self.cycle is None or (self.cycle.response_complete and self._bytes_since_progress > 0)
        if lacks_head and self.cycle is last:
            self.transport.close()
        else:
            self._head_timer = self.loop.call_later(HEAD_S, self._check_head, self.cycle)

    def shutdown(self) -> None:
        """Close the connection gracefully; its first request may still be on its way."""
        if self.cycle is None and not self.transport.is_closing():
            self._shutdown_timer = self.loop.call_later(FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._shutdown_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_since_progress += len(data)
        super().data_received(data)
        if self._bytes_since_progress > MAX_HEAD and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"all headers together must have at most {MAX_HEAD} bytes"
            )

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._refusal = (HTTPStatus.REQUEST_URI_TOO_LONG, f"the path must have at most {MAX_URL} bytes")
            raise ValueError("the URL is too long")

    def on_headers_complete(self) -> None:
        self._bytes_since_progress = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_since_progress = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bytes_since_progress = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        body = json.dumps({"error": text}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
