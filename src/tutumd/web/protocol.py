"""HTTP/1.1 as uvicorn reads it, with limits on what comes before a body, and its own refusals in our form."""

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_URL = 16 * 1024
MAX_HEAD = 64 * 1024
COMPLETE = "tutumd.complete"
"""In a scope: the whole body is here already, so that nobody has to wait for it. To start a timer takes long."""
LAST_REQUEST_S = 1.0
"""How long a server that ends waits for the first request of a connection that it accepted already."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a URL or headers that do not end: the parser would keep all of them in memory.

    Headers that are complete within one piece as the event loop reads it (256 KiB) pass.
    """

    _closing_soon: asyncio.TimerHandle | None = None
    _since_progress = 0
    """Bytes that came in since the parser last completed a head, or got hold of a piece of a body."""
    _refusal = (HTTPStatus.BAD_REQUEST, "this is not a valid HTTP/1.1 request")

    def shutdown(self) -> None:
        """End the connection in good order; one that has asked nothing yet may have a request on its way."""
        if self.cycle is None and not self.transport.is_closing():
            self._closing_soon = self.loop.call_later(LAST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._closing_soon is not None:
            self._closing_soon.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is fed to the parser."""
        self._since_progress += len(data)
        super().data_received(data)
        if self._since_progress > MAX_HEAD and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"all headers together must have at most {MAX_HEAD} bytes"
            )

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._refusal = (HTTPStatus.REQUEST_URI_TOO_LONG, f"the path must have at most {MAX_URL} bytes")
            raise ValueError("the URL is too long")

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._since_progress = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, whose limit is not kept here."""
        self._since_progress = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be ready for the next request of the connection."""
        self._since_progress = 0
        self.scope[COMPLETE] = True  # type: ignore[literal-required] # ASGI lets servers add keys
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read."""
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        body = json.dumps({"error": text}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
