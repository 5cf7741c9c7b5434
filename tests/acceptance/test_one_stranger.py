"""One stranger, without credentials, takes nothing noticeable from the memory of the server and the time of others."""

import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from tests.acceptance.raw_http import CREDENTIALS, Connection, Target, request
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

MEBIBYTE = 1024 * 1024
MAX_GROWTH = 64 * MEBIBYTE


def unknown_call() -> str:
    return f"/api/v1/service/{uuid.uuid4()}/webhook/handler/{uuid.uuid4()}/call/"


@pytest.fixture(scope="module")
def stranger_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("stranger"), "--engine", "local") as server:
        yield server


class Memory:
    """The resident memory of a server, watched in a thread. Its peak counts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self._process.memory_info().rss
        self.peak = self.before

    @property
    def growth(self) -> int:
        return self.peak - self.before

    def look(self) -> None:
        self.peak = max(self.peak, self._process.memory_info().rss)


def pipeline(
    server: LiveServer, raw: bytes, is_over: threading.Event, *, reads: bool, memory: Memory, responses: list[int]
) -> None:
    """Send a request as often as the connection takes it, until that is over, and read and count responses or not."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setblocking(False)
        many = raw * (256 * 1024 // len(raw))
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_WRITE | selectors.EVENT_READ)
            sent = 0
            while not is_over.is_set():
                for _, events in selector.select(0.1):
                    try:
                        if events & selectors.EVENT_READ and reads:
                            if not (received := connection.recv(1 << 20)):
                                return
                            responses.append(received.count(b"HTTP/1.1 404"))
                        if events & selectors.EVENT_WRITE:
                            sent = (sent + connection.send(many[sent:])) % len(many)
                    except BlockingIOError:
                        pass
                    except OSError:
                        return
                memory.look()
                if not reads:
                    time.sleep(0.001)  # a socket that is always readable must not take a whole processor


@contextmanager
def in_threads(count: int, do: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=do) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
def test_pipelining_takes_no_memory_and_holds_nobody_up(stranger_server: LiveServer, reads: bool) -> None:
    server, memory = stranger_server, Memory(stranger_server.pid)
    raw = request("POST", unknown_call(), headers=())
    is_over, least, answered = threading.Event(), time.monotonic() + 5, 0
    responses: list[int] = []
    with in_threads(4, lambda: pipeline(server, raw, is_over, reads=reads, memory=memory, responses=responses)):
        try:
            while answered < 50 or time.monotonic() < least:
                assert server.request("POST", unknown_call(), authorization=None).status == 404
                answered += 1
        finally:
            is_over.set()
    assert memory.growth < MAX_GROWTH
    # All that one connection has sent before others are served would be hundreds.
    assert sum(responses) < 4 * 100 * answered, "each connection has its turn"


def test_pipelined_requests_are_answered_in_order(target: Target) -> None:
    service = f"/api/v1/service/{target.service}/"
    paths = [service, target.handlers, "/healthz", f"{target.handlers}{target.handler}/", service] * 20
    expected = [target.send("GET", path).body for path in paths[:5]] * 20
    raws = [request("GET", path) for path in paths]
    raws.insert(7, request("POST", unknown_call(), b'{"a": "\r\n\r\n"}', headers=()))
    raws[-1] = request("GET", paths[-1], headers=(CREDENTIALS, "Connection: close"))
    whole = b"".join(raws)
    for size in (len(whole), 777, 7):
        with socket.create_connection(("127.0.0.1", target.server.port), timeout=240) as connection:
            for start in range(0, len(whole), size):
                connection.sendall(whole[start : start + size])
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        answers = received.split(b"HTTP/1.1 ")[1:]
        assert answers.pop(7).startswith(b"404")
        assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == expected


@pytest.mark.slow
def test_a_request_that_waits_is_begun_before_its_body_comes(target: Target) -> None:
    raw = request("POST", target.call, headers=("Expect: 100-continue",), length=2 * 1024 * 1024)
    with socket.create_connection(("127.0.0.1", target.server.port), timeout=240) as connection:
        connection.sendall(request("GET", "/healthz") + raw)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [answer[:3] for answer in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"413"]


def is_dropped(connection: Connection) -> bool:
    """Return whether there is a response, or the end of the connection."""
    try:
        connection.closes_within(0.01)
    except TimeoutError:
        return False
    return True


@pytest.mark.slow
def test_slow_bodies_take_no_memory_and_the_others_are_received(stranger_server: LiveServer) -> None:
    memory = Memory(stranger_server.pid)
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(stranger_server)) for _ in range(300)]
        for connection in connections:
            raw = request("POST", unknown_call(), b"a" * (MEBIBYTE - 1), (), length=MEBIBYTE)
            connection.send(raw)
            memory.look()
        other = stack.enter_context(Connection(stranger_server, "127.0.0.2"))
        other.send(request("POST", unknown_call(), b"a" * MEBIBYTE, ()))
        assert other.answer().status == 404, "what another client sends is received"
        wait_until(lambda: stranger_server.request("GET", "/healthz").status == 200, "it responds")
        memory.look()
        assert any(is_dropped(connection) for connection in connections), "slow ones are dropped"
    assert memory.growth < MAX_GROWTH


HOLDING = {
    "heads without end": (
        800,
        request("POST", unknown_call(), headers=["X: a"] * 250)[:-4] + b"\r\nY: ",
        b"a" * 60_000,
    ),
    "large files that nobody reads": (200, request("GET", "/api/docs/swagger-ui-bundle.js", headers=()), b""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOLDING)
def test_connections_that_are_held_open_take_no_memory(stranger_server: LiveServer, name: str) -> None:
    memory = Memory(stranger_server.pid)
    count, *parts = HOLDING[name]
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(stranger_server)) for _ in range(count)]
        for part in parts:
            for connection in connections:
                connection.send(part)
                memory.look()
        assert stranger_server.request("GET", "/healthz").status == 200
        memory.look()
    assert memory.growth < MAX_GROWTH
