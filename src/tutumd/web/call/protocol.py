"""HTTP/1.1 as uvicorn reads it, with limits on the data before a body, and error responses in tutumd's form."""

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tutumd.application.admission.headers import client_network
from tutumd.web.body import MAX_BODY
from tutumd.web.errors import error_response
from tutumd.web.unfinished import Unfinished, UnfinishedRequests

MAX_URL = 16 * 1024
MAX_ESCAPES = 1_000  # bytes of the path that may be written as `%XX`: the path is decoded first
MAX_HEAD = 64 * 1024
MAX_HEADERS = 256
HEAD_S = 20.0
"""Maximum duration of a request's head. The check runs at the same interval, so that a head can take twice as long."""
SLICE = 1024
TURN_EVENTS = 128  # headers and pieces of bodies, which take a microsecond each
TURN_SLICES = 256
"""Amount of received data that is parsed in one turn: about a third of a millisecond."""
MAX_UNWANTED_EVENTS = 500
"""Limit for an unwanted body, beyond one chunk for each 256 bytes. Beyond it the connection is closed: a 404 costs 2 ms
at most.
"""
TURN_PAUSE_S = 0.05  # between two turns, and between two reads of an unwanted body
REFUSAL_PAUSE_S = 0.05
FIRST_REQUEST_S = 1.0
"""How long a stopping server waits for the first request of an accepted connection."""
CONNECTION_BYTES = 8 * 1024
HEADER_BYTES = 256
"""Approximate memory of a connection and a header, beside the received bytes."""

_TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"there must be at most {MAX_HEADERS} headers, together at most {MAX_HEAD} bytes",
)
_HEAD_END = b"\r\n\r\n"


class PatientFlow(FlowControl):
    """Resumes reading only when all received data is parsed."""

    def __init__(self, transport: asyncio.Transport, protocol: "BoundedProtocol") -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if self._protocol.held:
            self._protocol.take_turn_later()  # the caller may be about to begin the waiting request
        elif not self._protocol.is_full:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """Bounds the memory of one connection: a head without end, and requests that are sent before a response.

    Beside the request in progress, at most one request is parsed. Further data of the same read waits as bytes.
    Incomplete data after a read and waiting data count towards the budget of all unfinished requests. A large read (up
    to 256 KiB) is parsed in turns: a chunk of one byte costs a microsecond.
    """

    _shutdown_timer: asyncio.TimerHandle | None = None
    _progress_timer: asyncio.TimerHandle | None = None
    _turn: asyncio.Handle | None = None
    _unfinished_bytes = 0
    """Bytes received of an incomplete message."""
    _body_bytes: int | None = None
    """Bytes received of the body that is being parsed."""
    _trailers = _events = _unwanted_events = 0
    _is_refused = False
    _refusal = (HTTPStatus.BAD_REQUEST, "this is not a valid HTTP/1.1 request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.flow = PatientFlow(transport, self)
        self.held = bytearray()
        self._budget: UnfinishedRequests = self.app.unfinished
        self._unfinished = Unfinished(drop=self._drop)
        self._peer = client_network(self.client[0] if self.client else "")
        self._budget.hold(self._unfinished, self._peer, CONNECTION_BYTES)
        self._progress_timer = self.loop.call_later(HEAD_S, self._check_progress, (None, 0))

    def _check_progress(self, last: object) -> None:
        """Close a connection whose next head is incomplete, or whose client does not read. Keep-alive closes idle
        connections.

        The check runs at intervals, because a timer for each request costs too much.
        """
        state = (self.cycle, self.transport.get_write_buffer_size())
        is_waiting = self.cycle is None or self.cycle.response_complete or self.flow.write_paused
        if is_waiting and state == last:
            end = self.transport.abort if self.transport.is_closing() else self.transport.close
            end()
        self._progress_timer = self.loop.call_later(HEAD_S, self._check_progress, state if is_waiting else None)

    def shutdown(self) -> None:
        """Close the connection gracefully; its first request may still be on its way."""
        if self.cycle is None and not self.transport.is_closing():
            self._shutdown_timer = self.loop.call_later(FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._progress_timer, self._shutdown_timer, self._turn):
            if timer is not None:
                timer.cancel()
        self._budget.release(self._unfinished)
        super().connection_lost(exc)

    @property
    def is_full(self) -> bool:
        """Whether parsing pauses: a request waits, the client does not read, or the connection is closing."""
        return bool(self.pipeline) or self.flow.write_paused or self._is_refused or self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self.held or self.is_full or len(data) > SLICE or data.count(_HEAD_END) > 1:
            self.held += data
            self.parse_held()
        else:
            self._events = 0
            self.parse(data)
            self.settle()
            if self._unfinished_bytes or self._events >= TURN_EVENTS:
                self._check_unwanted(len(data))
                if self._is_unwanted or self._events >= TURN_EVENTS:
                    self.take_turn_later(TURN_PAUSE_S)

    def parse_held(self) -> None:
        """Parse received data for one turn, until a request has to wait for the previous request."""
        slices, self._events, size_before = TURN_SLICES, 0, len(self.held)
        while self.held and slices and self._events < TURN_EVENTS and not self.is_full:
            size = self._size_of_slice()
            piece = bytes(self.held[:size])
            del self.held[:size]
            slices -= 1
            self.parse(piece)
        self.settle()
        self._check_unwanted(size_before - len(self.held))
        if self._is_unwanted or (self.held and not self.is_full):
            self.take_turn_later(TURN_PAUSE_S)
        elif self.held:
            self.flow.pause_reading()
        elif self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()  # otherwise the application resumes reading when it takes the body

    def take_turn_later(self, pause_s: float = 0) -> None:
        """Continue to read and parse later, unless a turn is already scheduled."""
        self.flow.pause_reading()
        if self._turn is None:
            self._turn = self.loop.call_later(pause_s, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.held:
            self.parse_held()
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    @property
    def _is_unwanted(self) -> bool:
        """Whether the rest of a message is still to arrive after the response is complete."""
        return bool(self._unfinished_bytes) and self.cycle is not None and self.cycle.response_complete

    def _check_unwanted(self, size: int) -> None:
        """Close the connection if an unwanted body takes long to parse, given the number of bytes in this turn."""
        if self._is_unwanted:
            self._unwanted_events += max(self._events - size // 256, 0)
            if self._unwanted_events > MAX_UNWANTED_EVENTS and not self.transport.is_closing():
                self.held.clear()
                self.transport.close()

    def _size_of_slice(self) -> int:
        """Return how many bytes to parse next, with at most one end of a head."""
        if self._body_bytes is not None:
            declared = dict(self.scope["headers"]).get(b"content-length", b"")
            if declared.isdigit():
                return max(int(declared) - self._body_bytes, 1)
        end = self.held.find(_HEAD_END, 0, SLICE)
        return end + len(_HEAD_END) if end >= 0 else SLICE

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.read_paused:
            self.flow.resume_reading()  # the waiting request has begun, so another one may wait

    def timeout_keep_alive_handler(self) -> None:
        if not self.held:  # parsing then waits for the client to read, which `_check_progress` watches
            super().timeout_keep_alive_handler()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def parse(self, data: bytes) -> None:
        """Parse data with at most one end of a head."""
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if not self._unfinished_bytes and self.cycle.scope is not self.scope:
            # After a complete message, a new head has begun with some of the data.
            self._unfinished_bytes = min(len(data), MAX_HEAD)

    def settle(self) -> None:
        """Count incomplete and waiting data after everything possible is parsed."""
        if (self._unfinished_bytes or self.held) and not self.transport.is_closing():
            self._check_unfinished()
        elif self._unfinished.size:
            self._budget.release(self._unfinished)

    def _check_unfinished(self) -> None:
        """Check a connection whose last request is not completely received or parsed."""
        is_head = self.cycle is None or self.cycle.scope is not self.scope
        count = len(self.headers or ())
        if is_head and (self._unfinished_bytes > MAX_HEAD or count > MAX_HEADERS):
            self._refuse(*_TOO_LARGE)
            return
        holder = self._peer if is_head else self._budget.read_client(self.cycle.scope)  # type: ignore[arg-type] # a dict
        is_kept = is_head or not self.cycle.response_complete
        size = min(self._unfinished_bytes, MAX_BODY) + count * HEADER_BYTES if is_kept else 0
        self._budget.hold(self._unfinished, holder, CONNECTION_BYTES + size + len(self.held))

    def _drop(self) -> None:
        """End the connection of an unfinished request; send the reason if no other response is due first."""
        if self.cycle is None or not self.cycle.more_body or self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            self.cycle.body.clear()
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests come slowly: send a body at once")

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._refusal = (HTTPStatus.REQUEST_URI_TOO_LONG, f"the path must have at most {MAX_URL} bytes")
            raise ValueError("the URL is too long")

    def on_headers_complete(self) -> None:
        if self.url.count(b"%") > MAX_ESCAPES and self.url.partition(b"?")[0].count(b"%") > MAX_ESCAPES:
            self._refusal = (HTTPStatus.BAD_REQUEST, f"the path must have at most {MAX_ESCAPES} escaped bytes")
            raise ValueError("the path has too many escapes")
        if len(self.headers) > MAX_HEADERS:
            self._refusal = _TOO_LARGE
            raise ValueError("there are too many headers")
        self._body_bytes = self._trailers = self._unwanted_events = 0
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._events += 1
        if self._body_bytes is None:
            super().on_header(name, value)
            return
        self._trailers += 1  # nobody reads them
        if self._trailers > MAX_HEADERS:
            self._refusal = _TOO_LARGE
            raise ValueError("there are too many trailers")

    def on_body(self, body: bytes) -> None:
        self._events += 1
        self._body_bytes = (self._body_bytes or 0) + len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes, self._body_bytes = 0, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Respond after a pause, and close the connection: clients that reconnect immediately would delay others."""
        if self._is_refused:
            return
        self._is_refused = True
        self.held.clear()
        self.flow.pause_reading()
        response = error_response(status, text, {"Connection": "close"})
        head = [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        self.loop.call_later(REFUSAL_PAUSE_S, self._end, b"".join((STATUS_LINE[status], *head, b"\r\n", response.body)))

    def _end(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)
            self.transport.close()
