"""SIGTERM while callers wait: they are told at once where to ask, and the grace of the worker begins at once."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.acceptance.raw_http import Connection, request
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

WAITERS = 20
GRACE_S = 8


@pytest.fixture
def server(tmp_path: Path) -> LiveServer:
    return LiveServer(tmp_path, "--engine", "local", "--grace", str(GRACE_S))


def test_waiters_get_504_with_their_status_url_at_once_and_no_grace_is_added(server: LiveServer) -> None:
    with server, ExitStack() as stack:
        service, gate = server.run_gated_service("waited-for")
        handler = server.make_handler(service)
        waiters = [stack.enter_context(Connection(server)) for _ in range(WAITERS)]
        for waiter in waiters:
            waiter.send(request("POST", f"{handler['url']}?wait=60", headers=()))
        deliveries = f"{handler['resource_uri']}delivery/?limit=1"
        wait_until(lambda: server.request("GET", deliveries).json["meta"]["total_count"] == WAITERS, "all wait")
        # Keep the HTTP server open until its grace is over.
        slow = [stack.enter_context(Connection(server)) for _ in range(2)]
        slow[0].send(request("POST", handler["url"], b"{", headers=(), length=2))
        slow[1].send(request("POST", f"{handler['resource_uri']}test/", b"{", length=2))
        wait_until(lambda: server.service(service)["state"] == "Redeploying", "the action runs")
        process = psutil.Process(server.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        for waiter in waiters:
            answer = waiter.answer()
            assert (answer.status, answer.json["state"]) in ((504, "In progress"), (504, "Pending"))
            assert answer.json["status_url"].startswith("/api/v1/status/")
            assert answer.headers["x-tutum-action-uri"].startswith("/api/v1/action/")
        assert process.is_running(), "they did not wait for the grace"
        assert server.stop() in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 1.7 * GRACE_S, "the graces of HTTP and of the worker run at once"
        assert [connection.answer().status for connection in slow] == [503, 503]
        gate.touch()
        assert "Traceback" not in server.log
        server.start()
