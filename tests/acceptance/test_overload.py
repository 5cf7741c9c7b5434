"""Idle and slow connections starve nobody, and /readyz tells the truth."""

import http.client
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.server import LiveServer
from tests.support.waiting import wait_until

IDLE = 1500
SLOW = 100


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 8192)), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_idle_connections_and_slow_senders_do_not_hold_up_a_call(live_server: LiveServer) -> None:
    service = live_server.run_service("patient")
    path = f"/api/v1/service/{service}/webhook/handler/{live_server.add_handler(service)}/call/"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    with ExitStack() as stack:
        opened = []
        for number in range(IDLE + SLOW):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", live_server.port), timeout=60))
            opened.append(connection)
            if number >= IDLE:
                # Half of them stop within the head, the others within the body.
                connection.sendall(head.encode() if number % 2 else f"{head}\r\nbegun".encode())
        answer = live_server.request("POST", path, authorization=None)
        opened[0].setblocking(False)
        with pytest.raises(BlockingIOError):  # so the call did not wait until the server closed the idle ones
            opened[0].recv(1)
        assert answer.status == 202
        for _ in range(9):
            answer = live_server.request("POST", path, authorization=None)
            assert answer.status == 202
    live_server.wait_for_action(answer.json["action"])
    assert live_server.request("GET", answer.json["action"]).json["state"] == "Success"


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_a_server_without_free_files_goes_on_when_some_are_free_again(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local") as server:
        service = server.run_service("full")
        path = f"/api/v1/service/{service}/webhook/handler/{server.add_handler(service)}/call/"
        process = psutil.Process(server.pid)
        max_files = process.num_fds() + 20
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (max_files, max_files))
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            wait_until(lambda: process.num_fds() >= max_files - 2, "no file is free")
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            time.sleep(2)  # a fixed time, to measure how busy the server is
            assert sum(process.cpu_times()[:2]) - before < (time.monotonic() - began) / 2
        wait_until(lambda: is_accepted(server, path), "calls are accepted again")


def is_accepted(server: LiveServer, path: str) -> bool:
    """Call a handler. A server that has no file left for a connection resets it."""
    try:
        return server.request("POST", path, authorization=None).status == 202
    except (OSError, http.client.HTTPException):
        return False
