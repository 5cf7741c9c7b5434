"""HTTP connections, over a transport and a clock that the tests control."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.unit.web.contexts import web_context
from tutumd.web.call.fast_path import FastProtocol, Respond
from tutumd.web.call.protocol import HEAD_S, MAX_HEADERS, REFUSAL_PAUSE_S, SLICE, TURN_EVENTS, TURN_PAUSE_S, TURN_SLICES
from tutumd.web.unfinished import MAX_BYTES, Unfinished, UnfinishedRequests

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
UNREAD = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711)})
        self.written = b""
        self.unsent = 0
        self.is_reading_ = True
        self.ended: list[str] = []

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_reading_ = False

    def resume_reading(self) -> None:
        self.is_reading_ = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended.append("closed")

    def abort(self) -> None:
        self.ended.append("aborted")


class FakeTask:
    def add_done_callback(self, callback: Callable[..., None]) -> None:
        """Never call it."""


class FakeLoop:
    """Timers that run when the time is turned, callbacks that run at once after them, and tasks that run in steps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.tasks: list[Coroutine[None, None, None]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: object) -> Any:
        timer = (self.now + delay, lambda: callback(*arguments))
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: timer in self.timers and self.timers.pop(self.timers.index(timer)))

    def call_soon(self, callback: Callable[..., None], *arguments: object) -> None:
        self.call_later(0, callback, *arguments)

    def create_task(self, coroutine: Coroutine[None, None, None]) -> "FakeTask":
        coroutine.send(None)
        self.tasks.append(coroutine)
        return FakeTask()

    def run_tasks(self) -> None:
        while self.tasks:
            with pytest.raises(StopIteration):
                self.tasks.pop().send(None)

    def step(self) -> None:
        """Call what is due first."""
        timer = min(self.timers, key=lambda timer: timer[0])
        self.timers.remove(timer)
        self.now = timer[0]
        timer[1]()

    def turn_to(self, now: float) -> None:
        while self.timers and min(timer[0] for timer in self.timers) <= now:
            self.step()
        self.now = now


class HeldApp:
    """An application that notes the bodies of the requests that begin, None if it is not complete, and holds them."""

    def __init__(self, unfinished: UnfinishedRequests) -> None:
        self.unfinished = unfinished
        self.begun: list[bytes | None] = []
        self.respond: Callable[[], None]

    def handle_fast(self, scope: Scope, body: bytes, respond: Respond) -> bool:
        self.begun.append(body)
        self.respond = partial(respond, 200, [(b"content-length", b"0")], b"")
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(None)
        await hold()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@types.coroutine
def hold() -> Generator[None, None, None]:
    """Go on when the task is run again."""
    yield


class Connection:
    """A connection whose requests are ended by the test."""

    def __init__(self, *proxies: str) -> None:
        self.loop, self.transport = FakeLoop(), FakeTransport()
        self.unfinished = web_context(trusted_proxies=proxies).unfinished
        self.app = HeldApp(self.unfinished)
        config = uvicorn.Config(
            cast(Any, self.app), http=FastProtocol, lifespan="off", log_config=None, proxy_headers=False
        )
        self.protocol = FastProtocol(config, ServerState(), {}, cast(Any, self.loop))
        self.protocol.connection_made(self.transport)
        self.begun = self.app.begun

    def receive(self, data: bytes) -> None:
        assert self.transport.is_reading_
        self.protocol.data_received(data)

    def end_refusal(self) -> bytes:
        """Let the pauses of turns and before a refusal pass, and return all that was written."""
        assert not self.transport.is_reading_
        self.loop.turn_to(self.loop.now + 3 * TURN_PAUSE_S + REFUSAL_PAUSE_S)
        assert self.transport.ended == ["closed"]
        return self.transport.written

    def respond(self) -> None:
        """End the response to the request that is being responded to."""
        if self.begun[-1] is None:
            self.loop.run_tasks()
        else:
            self.app.respond()
        self.loop.turn_to(self.loop.now)


@pytest.fixture
def connection() -> Iterator[Connection]:
    connection = Connection()
    yield connection
    connection.loop.run_tasks()


def test_only_one_request_waits_for_the_one_before_it(connection: Connection) -> None:
    connection.receive(HEALTH * 1000)
    for number in range(1, 1000):
        assert (len(connection.begun), len(connection.protocol.pipeline)) == (number, 1)
        assert not connection.transport.is_reading_
        connection.respond()
    assert (len(connection.begun), len(connection.protocol.pipeline)) == (1000, 0)
    assert connection.transport.is_reading_


def test_a_client_that_does_not_read_is_not_read_from(connection: Connection) -> None:
    connection.receive(HEALTH)
    connection.protocol.pause_writing()
    connection.receive(HEALTH)
    assert not connection.transport.is_reading_
    connection.respond()
    assert not connection.transport.is_reading_
    connection.protocol.resume_writing()
    connection.loop.turn_to(0)
    assert connection.transport.is_reading_


def test_a_body_that_nobody_takes_is_not_read_on(connection: Connection) -> None:
    connection.receive(UNREAD.replace(b"1000", b"1000000"))
    connection.receive(HEALTH * 4000)  # what looks like heads is a body
    assert connection.begun == [None]
    assert not connection.transport.is_reading_


def test_a_slow_reader_gets_all_responses_to_what_it_sent(connection: Connection) -> None:
    connection.receive(HEALTH * 4)
    connection.respond()
    connection.protocol.pause_writing()
    connection.respond()
    connection.respond()
    connection.loop.turn_to(HEAD_S - 1)  # beyond the time that keep-alive allows
    assert (len(connection.begun), connection.transport.ended) == (3, [])
    connection.protocol.resume_writing()
    connection.loop.turn_to(HEAD_S - 1)
    assert len(connection.begun) == 4


@pytest.mark.parametrize("drip", [b"a", b"G", b"\r\n"], ids=["body", "head", "empty lines"])
def test_an_answered_connection_that_drips_is_closed(connection: Connection, drip: bytes) -> None:
    connection.receive(UNREAD if drip == b"a" else HEALTH)
    connection.respond()
    connection.receive(HEALTH[:1] if drip == b"G" else drip)
    for second in range(4, int(2 * HEAD_S) + 4, 4):
        assert not connection.transport.ended, second
        connection.loop.turn_to(second)
        if not connection.transport.ended:
            connection.receive(HEALTH[second // 4 : second // 4 + 1] if drip == b"G" else drip)
    assert connection.transport.ended


def test_a_connection_that_goes_on_asking_stays(connection: Connection) -> None:
    for second in range(0, 200, 4):
        connection.loop.turn_to(second)
        connection.receive(HEALTH)
        connection.respond()
    assert not connection.transport.ended


def test_a_connection_that_is_not_read_is_aborted_in_the_end(connection: Connection) -> None:
    connection.transport.unsent = 1000
    connection.receive(HEALTH)
    connection.protocol.pause_writing()
    connection.loop.turn_to(4 * HEAD_S)
    assert connection.transport.ended[:2] == ["closed", "aborted"]


@pytest.mark.parametrize(
    "parts",
    [
        [HEALTH[:-2], *[b"X: a\r\n"] * (MAX_HEADERS - 1), b"X: a\r\nX: a\r\n"],
        [HEALTH.replace(b"Host: x", b"\r\n".join([b"X: a"] * (MAX_HEADERS + 1)))],
        [CHUNKED + b"0\r\n" + b"X: a\r\n" * (MAX_HEADERS + 2)],
    ],
    ids=["headers that drip", "headers at once", "trailers"],
)
def test_headers_and_trailers_are_limited(connection: Connection, parts: list[bytes]) -> None:
    for part in parts:
        assert not connection.transport.ended
        connection.receive(part)
    assert connection.end_refusal().startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("head", [UNREAD, CHUNKED], ids=["length", "chunks"])
def test_what_follows_an_unread_body_is_the_next_request(connection: Connection, head: bytes, size: int) -> None:
    connection.receive(head.replace(b"1000", str(size).encode()) + (b"" if head == UNREAD else b"%x\r\n" % size))
    connection.respond()
    looks_like = HEALTH if head == UNREAD or size == 1000 else b"x"  # many ends of heads within a chunk take too long
    body = (looks_like * (size // len(looks_like))).ljust(size, b"x") + (b"" if head == UNREAD else b"\r\n0\r\n\r\n")
    for start in range(0, size, 250_000):
        assert connection.begun == [None]
        end = start + 250_000
        connection.receive(body[start:end] if end < size else body[start:] + HEALTH)
        while connection.protocol.held or not connection.transport.is_reading_:
            assert not connection.transport.ended
            connection.loop.step()
    assert connection.begun == [None, b""]
    connection.respond()
    connection.receive(HEALTH)
    assert (connection.begun, connection.transport.ended) == ([None, b"", b""], [])


LETTERS, EMPTY_LINES = b"1\r\na\r\n" * 40_000, b"4\r\n\r\n\r\n\r\n" * 20_000


@pytest.mark.parametrize(
    "body",
    [LETTERS, EMPTY_LINES, b"0\r\n\r\n" + b"\r\n" * 100_000],
    ids=["letters", "empty lines", "behind"],
)
def test_what_came_at_once_is_parsed_in_turns(connection: Connection, body: bytes) -> None:
    connection.receive(CHUNKED)
    connection.receive(body)
    began, turns = connection.loop.now, 1
    while left := len(connection.protocol.held):
        connection.protocol.cycle.body.clear()
        connection.loop.step()
        turns += 1
        parsed = left - len(connection.protocol.held)
        assert parsed <= TURN_SLICES * SLICE
        assert min(body.count(b"a"), parsed // 6) <= TURN_EVENTS + SLICE // 6
    assert turns > 40
    assert connection.loop.now - began > 40 * TURN_PAUSE_S


@pytest.mark.parametrize("body", [LETTERS, EMPTY_LINES], ids=["letters", "empty lines"])
def test_a_body_that_nobody_wants_and_that_takes_long_ends_its_connection(connection: Connection, body: bytes) -> None:
    connection.receive(CHUNKED)
    connection.respond()
    connection.receive(body)
    connection.loop.turn_to(connection.loop.now + 10 * TURN_PAUSE_S)
    assert connection.transport.ended == ["closed"]


def test_small_pieces_of_a_body_are_read_in_turns_too(connection: Connection) -> None:
    connection.receive(CHUNKED)
    connection.receive(b"1\r\na\r\n" * (SLICE // 6))
    assert not connection.transport.is_reading_
    connection.loop.turn_to(TURN_PAUSE_S)
    assert connection.transport.is_reading_


def test_a_body_beyond_the_budget_is_dropped_and_told_so(connection: Connection) -> None:
    connection.receive(UNREAD)
    budget = connection.unfinished
    budget.hold(Unfinished(drop=lambda: None), "192.0.2.1", MAX_BYTES - 1000)
    assert connection.end_refusal().startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in connection.transport.written
    assert b"retry-after: 1" in connection.transport.written


def test_a_request_that_is_complete_is_not_told_that_the_next_one_is_dropped(connection: Connection) -> None:
    connection.receive(HEALTH)
    connection.receive(HEALTH[:5])
    connection.unfinished.hold(Unfinished(drop=lambda: None), "192.0.2.1", MAX_BYTES - 1000)
    assert (connection.transport.written, connection.transport.ended) == (b"", ["closed"])


@pytest.mark.parametrize("first", [HEALTH * 100, HEALTH + HEALTH[:-2] + b"X: " + b"a" * 4000], ids=["waits", "begun"])
def test_what_comes_behind_a_request_counts(connection: Connection, first: bytes) -> None:
    connection.receive(first)
    connection.unfinished.hold(Unfinished(drop=lambda: None), "192.0.2.1", MAX_BYTES - len(first))
    assert connection.transport.ended == ["closed"]


@pytest.mark.parametrize("whole", [UNREAD + b"a" * 1000, CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n"])
def test_a_body_that_comes_at_once_counts_for_nothing(connection: Connection, whole: bytes) -> None:
    connection.unfinished.hold(Unfinished(drop=lambda: None), "192.0.2.1", MAX_BYTES - 8200)
    connection.receive(whole)
    assert not connection.transport.ended
    assert connection.begun == [b"a" * 1000]


def test_clients_of_a_trusted_proxy_are_holders_of_their_own() -> None:
    connection = Connection("192.0.2.0/24")
    budget = connection.unfinished
    connection.receive(UNREAD.replace(b"Host: x", b"Host: x\r\nX-Forwarded-For: 2001:db8::1"))
    dropped: list[str] = []
    for address, size in (("192.0.2.1", MAX_BYTES // 4), ("2001:db8::", MAX_BYTES * 3 // 4 - 8000)):
        budget.hold(Unfinished(drop=partial(dropped.append, address)), address, size)
    assert (dropped, connection.end_refusal()[:13]) == ([], b"HTTP/1.1 503 ")
    connection.loop.run_tasks()
