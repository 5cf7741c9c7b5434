"""Connections to the API of an engine, and the time limits of calls."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.exceptions
from requests.adapters import HTTPAdapter

from tests.support.runs import FakeRun
from tutumd.engines.dockerapi.connection import CONNECT_LIMIT_S, Client, connect
from tutumd.engines.dockerapi.failures import translated
from tutumd.engines.dockerapi.registry import pull
from tutumd.engines.labels import parse_reference
from tutumd.errors import EngineRefusedError, EngineUnavailableError, LeaseLostError

CALLERS = 8
VERSION = {"ApiVersion": "1.47", "Components": [{"Name": "Engine"}]}


@contextmanager
def engine(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Client]:
    """Yield a client of a stand-in for an engine, whose requests `respond` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            respond(self)

        def do_POST(self) -> None:
            respond(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with connect(f"tcp://127.0.0.1:{server.server_port}", None) as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, document: object) -> None:
    body = json.dumps(document).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def test_no_caller_waits_for_the_version_behind_another() -> None:
    all_ask = threading.Barrier(CALLERS)

    def respond(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/version":
            # If they asked one after the other, the first would wait here until its limit is over.
            all_ask.wait(20)
            answer(request, VERSION)
        else:
            answer(request, [])

    with engine(respond) as client, ThreadPoolExecutor(CALLERS) as pool:
        assert list(pool.map(lambda _: client.containers(), range(CALLERS))) == [[]] * CALLERS


class Wire(HTTPAdapter):
    """What a client sends through: it notes the limits of requests, and shortens them or refuses the request."""

    def __init__(self, longest_s: float = math.inf, error: Exception | None = None) -> None:
        super().__init__()
        self.limits: list[Any] = []
        self._longest_s = longest_s
        self._error = error

    def send(self, *given: Any, **how: Any) -> requests.Response:
        connecting_s, responding_s = how["timeout"]
        self.limits.append(how["timeout"])
        if self._error:
            raise self._error
        return super().send(*given, **{**how, "timeout": (connecting_s, min(responding_s, self._longest_s))})


def test_connecting_has_a_shorter_limit_than_the_response() -> None:
    wire = Wire()
    with engine(lambda request: answer(request, VERSION)) as client:
        client.mount("http://", wire)
        client.version(api_version=False)
        client.get(f"{client.base_url}/version", timeout=2)
        client.get(f"{client.base_url}/version", timeout=(1, 2))
    assert wire.limits == [(CONNECT_LIMIT_S, 30), (CONNECT_LIMIT_S, 2), (1, 2)]


@contextmanager
def silent_pull() -> Iterator[Client]:
    """Yield a client of an engine that pulls one layer, and then sends nothing."""
    ended = threading.Event()

    def respond(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/version":
            answer(request, VERSION)
            return
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        record = json.dumps({"status": "Download complete", "progressDetail": {}, "id": "a1"}) + "\n"
        request.wfile.write(f"{len(record):x}\r\n{record}\r\n".encode())
        ended.wait(30)
        request.close_connection = True

    with engine(respond) as client:
        try:
            yield client
        finally:
            ended.set()


@pytest.mark.slow
def test_a_silent_pull_is_ended_and_says_how_far_it_came() -> None:
    reason = "cannot pull app:1: layers downloaded: 1, and then nothing came"
    with silent_pull() as client, pytest.raises(EngineRefusedError, match=reason):
        client.mount("http://", Wire(longest_s=3))
        pull(client, parse_reference("app:1"), {}, FakeRun())


class Ending(FakeRun):
    """A run that is canceled, or loses its lease, while its pull is silent."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.has_ended = False
        self.lease_error = error

    def remaining_s(self) -> float:
        self.has_ended = self.has_ended or threading.current_thread().name == "hang up"
        if self.has_ended and self.lease_error:
            raise self.lease_error
        return 0.0 if self.has_ended else super().remaining_s()


@pytest.mark.parametrize("lease_error", [None, LeaseLostError("the worker stops")], ids=["canceled", "released"])
def test_a_silent_pull_ends_with_its_run(lease_error: Exception | None) -> None:
    with silent_pull() as client, pytest.raises(type(lease_error) if lease_error else EngineRefusedError):
        pull(client, parse_reference("app:1"), {}, Ending(lease_error))


def test_an_engine_that_takes_no_connection_has_not_refused_a_pull() -> None:
    error = requests.exceptions.ConnectTimeout("timed out")
    error.__cause__ = TimeoutError("timed out")
    with engine(lambda request: answer(request, VERSION)) as client:
        assert not client.is_podman
        client.mount("http://", Wire(error=error))
        with pytest.raises(EngineUnavailableError, match="did not respond in time"):
            pull(client, parse_reference("app:1"), {}, FakeRun())


def test_connecting_sends_nothing_and_a_missing_engine_shows_at_the_first_call(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/none.sock", None)
    with client, pytest.raises(EngineUnavailableError, match=r"cannot look: .*No such file"), translated("look"):
        client.containers()
