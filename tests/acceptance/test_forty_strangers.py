"""Forty strangers with the worst requests delay a call hardly more than forty with the smallest, and cost little."""

import http.client
import socket
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.acceptance.raw_http import request
from tests.support.server import LIMIT_S, LiveServer
from tests.support.strangers import strangers

STRANGERS = 40
ROUNDS = 5
ROUND_S = 4.0
MOST = 1.5
"""How many times as long the 99th percentile of a call may be beside the worst requests."""
MOST_CPU_MS = 2.0
MEBIBYTE = 1024 * 1024


def call(query: str = "") -> str:
    return f"/api/v1/service/{uuid.uuid4()}/webhook/handler/{uuid.uuid4()}/call/{query}"


def names(count: int) -> str:
    return "?" + "&".join(f"{number:x}" for number in range(count))[:15_800]


HEADERS = [f"X-{number}: {'a/%25' * 48}" for number in range(240)]
FORM = ("Content-Type: application/x-www-form-urlencoded", f"Cookie: tutumd_session={'a' * 43}")
SMALLEST = request("POST", call(), headers=())
WORST = {
    "call, names in the query": request("POST", call(names(3950)), headers=()),
    "call, escapes in the query": request("POST", call("?a=" + "%41" * 5200), headers=()),
    "call, headers": request("POST", call(), headers=HEADERS),
    "call, proxies": request("POST", call(), headers=["X-Forwarded-For: " + "127.0.0.9," * 5900]),
    "call, body": request("POST", call(), b"[]," * (MEBIBYTE // 3), headers=()),
    "call, chunks": request("POST", call(), headers=["Transfer-Encoding: chunked"])
    + b"1\r\na\r\n" * 40_000
    + b"0\r\n\r\n",
    "call, all of it": request("POST", call(names(3950)), b"[]," * (MEBIBYTE // 3), headers=HEADERS),
    "path, escapes": request("GET", "/api/v1/service/" + "%2f" * 5300, headers=()),
    "path, parts": request("GET", "/api/v1/" + "a/" * 8000, headers=()),
    "path, up": request("GET", "/account/" + "%2e%2e/" * 2300, headers=()),
    "page, cookies": request("GET", "/sign-in/", headers=["Cookie: " + 'a="\\"\\"";' * 5000]),
    "page, own cookies": request(
        "GET", "/services/", headers=["HX-Request: true", "Cookie: " + "tutumd_session=a;" * 3600]
    ),
    "page, query": request("GET", "/sign-in/" + names(3950), headers=()),
    "page, next": request("GET", "/sign-in/?next=" + "%2f" * 5200, headers=()),
    "page, headers": request("GET", "/account/", headers=HEADERS),
    "page, long link": request("GET", f"/sign-in/link/{'a' * 16_000}/", headers=()),
    "form, fields": request("POST", "/sign-in/", b"&".join(b"%x" % n for n in range(3000)), headers=FORM),
    "form, body": request("POST", "/sign-in/", b"a" * MEBIBYTE, headers=FORM),
    "api, credentials": request("GET", "/api/v1/auth/", headers=["Authorization: Basic " + "QUFB" * 15_000]),
    "api, query": request("GET", "/api/v1/service/" + names(3950), headers=()),
    "api, body": request("POST", "/api/v1/service/", b"[" * MEBIBYTE, headers=()),
    "status": request("GET", f"/api/v1/status/{'ab' * 8000}/", headers=()),
    "request id": request("GET", "/" + "abcdefgh/" * 1700, headers=[f"X-Request-Id: {'a' * 128}"]),
    "openapi": request("GET", "/api/openapi.json", headers=()),
    "no http": b"GARBAGE\r\n\r\n",
}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A server, and the path of a handler that is called."""
    options = ("--engine", "local", "--trusted-proxies", "127.0.0.0/8")
    with LiveServer(tmp_path_factory.mktemp("busy"), *options) as server:
        service = server.run_service("called")
        path = f"/api/v1/service/{service}/webhook/handler/{server.add_handler(service)}/call/"
        for raw in (SMALLEST, *WORST.values()):  # what is loaded at the first use
            with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
                connection.sendall(raw)
                assert connection.recv(16)
        yield server, path


def p99_ms(server: LiveServer, path: str) -> float:
    """Call for some seconds, and return the 99th percentile of the times."""
    times: list[float] = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + ROUND_S
        while time.monotonic() < end or len(times) < 100:
            began = time.perf_counter()
            connection.request("POST", path, b"{}")
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - began)
            assert answer.status == 202
    return 1000 * statistics.quantiles(times, n=100)[98]


@pytest.mark.nightly
@pytest.mark.parametrize("worst", WORST)
def test_the_worst_requests_delay_a_call_hardly_more_than_the_smallest(
    busy: tuple[LiveServer, str], worst: str, tmp_path: Path
) -> None:
    server, path = busy
    found: dict[bytes, list[float]] = {SMALLEST: [], WORST[worst]: []}
    for _ in range(ROUNDS):
        for raw, times in found.items():
            with strangers(server.port, STRANGERS, raw, tmp_path):
                times.append(p99_ms(server, path))
    smallest, largest = (statistics.median(times) for times in found.values())
    print(f"{worst}: {largest:.1f} ms beside {smallest:.1f} ms")
    assert largest <= MOST * smallest


def cpu_ms(server: LiveServer, raw: bytes, folder: Path) -> float:
    """Return the processor time of the edge for each of some hundred requests."""
    process = psutil.Process(server.pid)
    before = sum(process.cpu_times()[:2])
    with strangers(server.port, STRANGERS, raw, folder) as responses:
        time.sleep(ROUND_S)  # a fixed time, to count what is answered in it
    return 1000 * (sum(process.cpu_times()[:2]) - before) / max(1, responses[0])


@pytest.mark.nightly
@pytest.mark.parametrize("worst", [name for name in WORST if name.startswith("call")])
def test_a_call_to_an_unknown_handler_takes_two_milliseconds_at_most(
    busy: tuple[LiveServer, str], worst: str, tmp_path: Path
) -> None:
    server, _ = busy
    assert min(cpu_ms(server, WORST[worst], tmp_path) for _ in range(3)) <= MOST_CPU_MS
