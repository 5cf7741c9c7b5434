"""HTTP/1.1 as uvicorn reads it, with limits on what comes before a body, and its own refusals in our form."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

Take = Callable[[Any, bytes, Callable[[int, list[tuple[bytes, bytes]], bytes], None]], bool]
"""What an application may have beside ASGI: takes a scope, a whole body, and what sends a whole answer."""

MAX_URL = 16 * 1024
MAX_HEAD = 64 * 1024
COMPLETE = "tutumd.complete"
"""In a scope: the whole body is here already, so that nobody has to wait for it. To start a timer takes long."""
HEAD_S = 20.0
"""How long the head of a request may take; looked at as often, so that it can be twice as long."""
LAST_REQUEST_S = 1.0
"""How long a server that ends waits for the first request of a connection that it accepted already."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a URL or headers that do not end: the parser would keep all of them in memory.

    Headers that are complete within one piece as the event loop reads it (256 KiB) pass.
    """

    _begun: "tuple[RequestResponseCycle, ASGI3Application] | None" = None
    """A request whose head is here; whether its body comes with it is known only at the end of what was received."""
    _closing_soon: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _since_progress = 0
    """Bytes that came in since the parser last completed a head, or got hold of a piece of a body."""
    _refusal = (HTTPStatus.BAD_REQUEST, "this is not a valid HTTP/1.1 request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, which may stay for as long as requests come."""
        super().connection_made(transport)
        self._looking = self.loop.call_later(HEAD_S, self._look, None)

    def _look(self, last: RequestResponseCycle | None) -> None:
        """Close a connection whose next head is not complete; one that is between two requests ends by keep-alive.

        Looked at now and then, not with each request: to start a timer takes long.
        """
        lacks_head = self.cycle is None or (self.cycle.response_complete and self._since_progress > 0)
        if lacks_head and self.cycle is last:
            self.transport.close()
        else:
            self._looking = self.loop.call_later(HEAD_S, self._look, self.cycle)

    def shutdown(self) -> None:
        """End the connection in good order; one that has asked nothing yet may have a request on its way."""
        if self.cycle is None and not self.transport.is_closing():
            self._closing_soon = self.loop.call_later(LAST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._looking, self._closing_soon):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is fed to the parser."""
        self._since_progress += len(data)
        super().data_received(data)
        if self._begun is not None:
            begun, self._begun = self._begun, None
            super()._start_asgi_task(*begun)
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
        if self._begun is not None and self._begun[0] is self.cycle:
            begun, self._begun = self._begun, None
            self._take(*begun)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.more_body:
            self._begun = (cycle, app)
        else:
            self._take(cycle, app)

    def _take(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begin to answer a request that is here as a whole: a call at once, all else in a task of its own.

        A task, and the messages of ASGI that it would pass to and fro, take as long as all the rest of a call.
        """
        take: Take | None = getattr(app, "take", None)
        if take is None or not take(cycle.scope, bytes(cycle.body), partial(self._respond, cycle)):
            super()._start_asgi_task(cycle, app)

    def _respond(
        self, cycle: RequestResponseCycle, status: int, headers: list[tuple[bytes, bytes]], content: bytes
    ) -> None:
        """Send a whole answer, as the cycle's `send` would."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        self.transport.write(b"".join((*parts, b"\r\n", content)))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

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
