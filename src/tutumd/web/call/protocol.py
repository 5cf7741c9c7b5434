"""HTTP/1.1 as uvicorn reads it, with limits on what comes before a body, and error responses in our form."""

import asyncio
from enum import Enum, auto
from http import HTTPStatus

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tutumd.application.admission.addresses import client_network
from tutumd.web.body import MAX_BODY
from tutumd.web.errors import error_response
from tutumd.web.unfinished import Unfinished, UnfinishedRequests

MAX_URL = 16 * 1024
MAX_ESCAPES = 1_000  # bytes of the path that may be written as `%XX`: it is decoded before all else
MAX_HEAD = 64 * 1024
MAX_HEADERS = 256
HEAD_S = 20.0
"""How long the head of a request may take. It is checked as often, so that it can take twice as long."""
SLICE = 16 * 1024
SLICE_HEADS = 64
"""How much of what came at once is parsed before other connections have their turn: about a tenth of a millisecond."""
MAX_BLANK = 64  # bytes of empty lines before a request
DROP_PAUSE_S = 0.05  # between two reads of a body that nobody wants, because the response is sent already
MAX_DROPPED = 16 * MAX_BODY
FIRST_REQUEST_S = 1.0
"""How long a server that ends waits for the first request of a connection that it accepted already."""
CONNECTION_BYTES = 8 * 1024
HEADER_BYTES = 256
"""About what a connection and a header take in memory, beside the received bytes."""

_TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"there must be at most {MAX_HEADERS} headers, together at most {MAX_HEAD} bytes",
)
_BLANK = (HTTPStatus.BAD_REQUEST, f"at most {MAX_BLANK} bytes of empty lines may come before a request")
_HEAD_END = b"\r\n\r\n"


class PatientFlow(FlowControl):
    """Reads on only when everything is parsed that was received."""

    def __init__(self, transport: asyncio.Transport, protocol: "BoundedProtocol") -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if self._protocol.held:
            # Later: the caller may be about to begin the request that waits.
            self._protocol.loop.call_soon(self._protocol.parse_held)
        elif not self._protocol.is_full:
            super().resume_reading()


class Stage(Enum):
    """How far the message is that the parser reads."""

    BLANK = auto()
    HEAD = auto()
    BODY = auto()


class LingeringTransport:
    """The transport of a request whose body is incomplete. A client that is still sending must see the response."""

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self.write, self.close = protocol.transport.write, protocol.close_after_response


class BoundedProtocol(HttpToolsProtocol):
    """Bounds what one connection takes: a head without end, and requests that are sent before a response.

    Beside the request that is being responded to, at most one is parsed; what one read of the event loop brought beyond
    it waits as bytes. What is incomplete after a read, and what waits, count towards the budget of all unfinished
    requests. A large read is parsed in slices. A body that nobody wants, because the response was sent before it was
    complete, is not parsed but dropped, and the connection is closed.
    """

    _shutdown_timer: asyncio.TimerHandle | None = None
    _progress_timer: asyncio.TimerHandle | None = None
    _unfinished_bytes = 0
    """Bytes received of a message that is not complete."""
    _stage = Stage.BLANK
    _body_bytes = _trailers = _blank_bytes = _dropped_bytes = 0
    _is_dropping = _is_parsing_later = False
    _keep_alive: bool | None = None
    """What a request asked for that was begun without the whole of its body."""
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
        """Close a connection whose next head is incomplete, or whose client does not read. Keep-alive closes idle ones.

        The check runs at intervals, since starting a timer for each request costs too much.
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
            self._keep_alive = None
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._progress_timer, self._shutdown_timer):
            if timer is not None:
                timer.cancel()
        self._budget.release(self._unfinished)
        super().connection_lost(exc)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is parsed now: a request waits, the client does not read, or the connection ends."""
        return bool(self.pipeline) or self.flow.write_paused or self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self._is_dropping:
            self._drop_read(len(data))
        elif self.held or self.is_full or self._is_unwanted or len(data) > SLICE or data.count(_HEAD_END) > 1:
            self.held += data
            self.flow.pause_reading()
            self.parse_held()
        else:
            self.parse(data)
            self.settle()

    def _drop_read(self, size: int) -> None:
        self._dropped_bytes += size
        self.flow.pause_reading()
        if self._dropped_bytes > MAX_DROPPED:
            self.transport.close()
        else:
            self.loop.call_later(DROP_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def begin_incomplete(self, cycle: RequestResponseCycle) -> None:
        """Prepare for a response that is sent before the body of its request is complete.

        It ends the connection if nobody knows where the body ends without parsing it, or if that is far away.
        """
        cycle.transport = LingeringTransport(self)  # type: ignore[assignment] # as far as a cycle needs one
        if self._body_size is None or self._body_size > MAX_DROPPED:
            self._keep_alive, cycle.keep_alive = cycle.keep_alive, False

    @property
    def _body_size(self) -> int | None:
        """The size of the present body by its head; None if it comes in chunks."""
        declared = dict(self.scope["headers"]).get(b"content-length", b"")
        return int(declared[:19]) if declared.isdigit() else None

    @property
    def _is_unwanted(self) -> bool:
        """Whether the rest of a body comes that nobody reads, and behind which the next request follows."""
        is_rest = self._stage is Stage.BODY and self.cycle is not None and self.cycle.response_complete
        return is_rest and self._body_size is not None

    def _drop_held(self) -> None:
        """Drop what was received of an unwanted body; begin with the next request behind its end."""
        self._unset_keepalive_if_required()
        left = (self._body_size or 0) - self._body_bytes
        self._body_bytes += min(left, len(self.held))
        if left > len(self.held):
            self.held.clear()
            self.loop.call_later(DROP_PAUSE_S, self._read_on)
            return
        del self.held[:left]
        # The parser has not seen the end of the body.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._stage, self._unfinished_bytes = Stage.BLANK, 0

    def close_after_response(self) -> None:
        """Close the connection, once the client had the time to read the response."""
        if self._stage is Stage.BODY and not self.transport.is_closing():
            self._is_dropping = True
            self.held.clear()
        else:
            self.transport.close()

    def parse_held(self) -> None:
        """Parse what was received, head by head, until a request has to wait for the one before it."""
        if self._is_unwanted:
            self._drop_held()
            if self._stage is Stage.BODY:
                return
        left, heads = SLICE, SLICE_HEADS
        while self.held and left > 0 and heads and not self.is_full and not self._is_dropping:
            size = self._size_of_piece(left)
            piece = bytes(self.held[:size])
            del self.held[:size]
            left, heads = left - size, heads - 1
            if piece:
                self.parse(piece)
        self.settle()
        if not self.held and (self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT):
            self.flow.resume_reading()  # else the application does, when it takes the body
        elif self.held and not self.is_full and not self._is_parsing_later:
            self._is_parsing_later = True
            self.loop.call_soon(self._parse_later)

    def _parse_later(self) -> None:
        self._is_parsing_later = False
        self.parse_held()

    def _size_of_piece(self, most: int) -> int:
        """Return how many bytes are parsed next: to the end of a head or of a body, without empty lines before a head.

        The parser would look at each empty line by itself.
        """
        if self._stage is Stage.BLANK and self.held[0] in b"\r\n":
            blank = len(self.held) - len(self.held.lstrip(b"\r\n"))
            del self.held[:blank]
            self._blank_bytes += blank
            if self._blank_bytes > MAX_BLANK:
                self._refuse(*_BLANK)
            return 0
        if self._stage is Stage.BODY and (size := self._body_size) is not None:
            return min(most, max(size - self._body_bytes, 1))
        end = self.held.find(_HEAD_END, 0, most)
        return end + len(_HEAD_END) if end >= 0 else min(most, len(self.held))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.read_paused:
            self.flow.resume_reading()  # the request that waited is begun, so another one may wait

    def timeout_keep_alive_handler(self) -> None:
        if not self.held:  # then it waits for the client to read, which `_check_progress` watches
            super().timeout_keep_alive_handler()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def parse(self, data: bytes) -> None:
        """Parse data with at most one end of a head."""
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if not self._unfinished_bytes and self._stage is Stage.HEAD:
            # Behind a message that is complete, a head has begun with some of the data.
            self._unfinished_bytes = min(len(data), MAX_HEAD)

    def settle(self) -> None:
        """Count what is incomplete or waits, once all is parsed that can be."""
        if (self._unfinished_bytes or self.held) and not self.transport.is_closing():
            self._check_unfinished()
        elif self._unfinished.size:
            self._budget.release(self._unfinished)

    def _check_unfinished(self) -> None:
        """Check a connection of whose last request a part is still to come, or to be parsed."""
        is_head = self.cycle is None or self._stage is Stage.HEAD
        count = len(self.headers or ())
        if self._stage is not Stage.BODY and self._unfinished_bytes > MAX_HEAD:
            self._refuse(*_TOO_LARGE)
            return
        holder = self._peer if is_head else self._budget.read_client(self.cycle.scope)  # type: ignore[arg-type] # a dict
        is_kept = is_head or not self.cycle.response_complete
        size = min(self._unfinished_bytes, MAX_BODY) + count * HEADER_BYTES if is_kept else 0
        self._budget.hold(self._unfinished, holder, CONNECTION_BYTES + size + len(self.held))

    def _drop(self) -> None:
        """End the connection of an unfinished request; say why if no response to another one is due before."""
        if self.cycle is None or not self.cycle.more_body or self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            self.cycle.body.clear()
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests come slowly: send a body at once")

    def on_message_begin(self) -> None:
        self._stage = Stage.HEAD
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._refusal = (HTTPStatus.REQUEST_URI_TOO_LONG, f"the path must have at most {MAX_URL} bytes")
            raise ValueError("the URL is too long")

    def on_headers_complete(self) -> None:
        if self.url.count(b"%") > MAX_ESCAPES and self.url.partition(b"?")[0].count(b"%") > MAX_ESCAPES:
            self._refusal = (HTTPStatus.BAD_REQUEST, f"the path must have at most {MAX_ESCAPES} escaped bytes")
            raise ValueError("the path has too many escapes")
        self._stage, self._body_bytes, self._trailers, self._blank_bytes = Stage.BODY, 0, 0, 0
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is Stage.HEAD:
            super().on_header(name, value)
        else:
            self._trailers += 1  # nobody reads them
        if len(self.headers) > MAX_HEADERS or self._trailers > MAX_HEADERS:
            self._refusal = _TOO_LARGE
            raise ValueError("there are too many headers")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stage, self._unfinished_bytes = Stage.BLANK, 0
        if self._keep_alive is not None:
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keep_alive
            self._keep_alive = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        response = error_response(status, text, {"Connection": "close"})
        head = [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        self.transport.write(b"".join((STATUS_LINE[status], *head, b"\r\n", response.body)))
        self.transport.close()
