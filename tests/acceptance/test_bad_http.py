"""HTTP as it should not be sent: wrong lengths, endless heads, unread bodies, odd slashes. The server stays in step."""

import socket
from collections.abc import Callable

import psutil
import pytest

from tests.acceptance.raw_http import Connection, Target, check_refusal, chunked, exchange, request
from tests.support.server import LiveServer

MEBIBYTE = 1024 * 1024
HEALTH = request("GET", "/healthz")


@pytest.mark.parametrize("length", [MEBIBYTE + 1, 20 * MEBIBYTE, 2**62])
def test_a_declared_length_over_one_mebibyte_is_refused(target: Target, length: int) -> None:
    raw = request("POST", target.call, b"a" * min(length, 20 * MEBIBYTE), (), length=length)
    check_refusal(exchange(target.server, raw), 413)


def test_a_chunked_body_over_one_mebibyte_is_refused(target: Target) -> None:
    for size in (MEBIBYTE + 1, 17 * MEBIBYTE):
        raw = request("POST", target.call, chunked(b"a" * size), ("Transfer-Encoding: chunked",))
        check_refusal(exchange(target.server, raw), 413)


def test_a_body_that_does_not_come_changes_nothing(target: Target) -> None:
    with Connection(target.server) as connection:
        connection.send(request("POST", target.call, b"ab", (), length=10))
        assert exchange(target.server, HEALTH).status == 200


@pytest.mark.nightly
def test_a_connection_that_does_not_ask_to_the_end_is_closed(target: Target) -> None:
    half = HEALTH[: len(HEALTH) // 2]
    with Connection(target.server) as silent, Connection(target.server) as begun, Connection(target.server) as again:
        begun.send(half)
        again.send(HEALTH)
        assert again.answer("GET").status == 200
        again.send(half)
        # By the server, which takes HEAD_S of tutumd/web/call/protocol.py once or twice: a client would wait for more.
        assert all(connection.is_closed for connection in (silent, begun, again))


BROKEN: dict[str, Callable[[str], bytes]] = {
    "negative length": lambda path: request("POST", path, headers=(), length=-1),
    "length of 40 digits": lambda path: request("POST", path, headers=(), length=int("9" * 40)),
    "two lengths": lambda path: request("POST", path, b"ab", ("Content-Length: 1",)),
    "length and chunks": lambda path: request(
        "POST", path, chunked(b""), ("Content-Length: 2", "Transfer-Encoding: chunked")
    ),
    "bad chunk": lambda path: request("POST", path, b"zz\r\nab\r\n0\r\n\r\n", ("Transfer-Encoding: chunked",)),
    "space in the path": lambda path: request("POST", f"{path} 1/", headers=()),
    "raw bytes in the path": lambda path: request("POST", f"{path}\xd9\xa3/", headers=()),
    "space in a header": lambda path: request("POST", path, headers=("X Y: 1",)),
    "NUL in a header": lambda path: request("POST", path, headers=("X: a\0b",)),
    "unknown method": lambda path: request("SHOOT", path, headers=()),
    "unknown version": lambda path: f"POST {path} HTTP/9.9\r\nHost: x\r\n\r\n".encode(),
    "HTTP/2": lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "CONNECT": lambda _: b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_http_is_refused(target: Target, case: str) -> None:
    with Connection(target.server) as connection:
        connection.send(BROKEN[case](target.call))
        check_refusal(connection.answer(), 400)
        assert connection.is_closed


def test_an_endless_path_is_refused(target: Target) -> None:
    for length in (17_000, 70_000, 5_000_000):
        check_refusal(exchange(target.server, request("POST", f"{target.call}{'9' * length}/", headers=())), 414)


def test_endless_headers_are_refused_and_not_kept(target: Target, live_server: LiveServer) -> None:
    before = psutil.Process(live_server.pid).memory_info().rss
    for headers in (["X: " + "a" * 20_000_000], ["X: a"] * 500_000):
        check_refusal(exchange(target.server, request("POST", target.call, headers=headers)), 431)
    assert psutil.Process(live_server.pid).memory_info().rss - before < 16 * MEBIBYTE


def test_headers_of_an_ordinary_size_are_read(target: Target) -> None:
    assert exchange(target.server, request("GET", "/healthz", headers=["X: " + "a" * 30_000])).status == 200


@pytest.mark.parametrize("size", [2, 100_000, 3_000_000])
def test_a_connection_stays_in_step_after_a_refusal_with_an_unread_body(target: Target, size: int) -> None:
    body = b"GET /healthz HTTP/1.1\r\n\r\n".ljust(size, b"a")[:size]
    for method, path, status in (
        ("PUT", target.call, 405),
        ("POST", target.handlers, 401),
        ("DELETE", target.handlers, 405),
        ("POST", "/nowhere", 404),
    ):
        with Connection(target.server) as connection:
            connection.send(request(method, path, body, ()))
            check_refusal(connection.answer(method), status)
            connection.send(HEALTH)
            assert connection.answer("GET").json == {"status": "ok"}


def test_bodies_on_get_and_delete_are_read_and_dropped(target: Target) -> None:
    with Connection(target.server) as connection:
        for method, path, status in (("GET", target.handlers, 200), ("DELETE", f"{target.handlers}x/", 404)):
            connection.send(request(method, path, b"{}"))
            assert connection.answer(method).status == status
        connection.send(HEALTH)
        assert connection.answer("GET").status == 200


def test_a_client_that_goes_away_changes_nothing_else(target: Target) -> None:
    for raw in (b"POST ", request("POST", target.handlers, b'{"na', length=100), HEALTH):
        with socket.create_connection(("127.0.0.1", target.server.port)) as connection:
            connection.sendall(raw)
    assert exchange(target.server, HEALTH).status == 200


def test_every_route_is_served_with_slashes_missing_and_doubled(target: Target) -> None:
    for path in ("/api/v1/auth/", "/api/v1/service/", "S", "Slogs/", "Swebhook/handler/", "H", "/api/v1/container/",
                 "/api/v1/action/", "/healthz", "/api/docs", "/api/openapi.json"):  # fmt: skip
        right = target.path(path)
        expected = target.send("GET", right)
        assert expected.status == 200
        for wrong in (right.rstrip("/"), right.rstrip("/") + "/", right.replace("/", "//"), f"{right}//"):
            answer = target.send("GET", wrong)
            # The logs have a cursor, which is another one for each reader.
            shown, wanted = (each.body.partition(b'"next":"')[0] for each in (answer, expected))
            assert (answer.status, shown) == (200, wanted), wrong
