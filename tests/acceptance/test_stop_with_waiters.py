"""SIGTERM while callers wait: they are told at once where to ask, and the grace of the worker begins at once."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.acceptance.raw_http import Connection, request
from tests.support.server import PATIENT, Answer, LiveServer
from tests.support.waiting import wait_until

WAITERS = 20
GRACE_S = 8


@pytest.fixture
def server(tmp_path: Path) -> LiveServer:
    return LiveServer(tmp_path, "--engine", "local", "--grace", str(GRACE_S), command=PATIENT)


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


def test_a_server_that_will_stop_says_so_to_proxies_and_goes_on_for_the_delay(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--stop-delay", "2") as server:
        handler = server.make_handler(str(server.create_service("quiet")["uuid"]))
        assert server.request("GET", "/readyz").status == 200
        began = time.monotonic()
        psutil.Process(server.pid).send_signal(signal.SIGTERM)
        answer = wait_until(lambda: _refusal(server), "the server says that it stops")
        assert answer.json["status"] == "stopping"
        assert server.post(handler["url"]).status == 202
        assert server.request("GET", "/healthz").status == 200
        assert server.wait() in (0, -signal.SIGTERM)
        assert time.monotonic() - began >= 2
        server.start()


def _refusal(server: LiveServer) -> Answer | None:
    answer = server.request("GET", "/readyz")
    return answer if answer.status == 503 else None
