"""SIGTERM while callers wait: they are told at once where to ask, and the grace of the worker begins at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.acceptance.raw_http import Connection, request
from tests.support.processes import runs
from tests.support.server import Answer, LiveServer
from tests.support.waiting import wait_until

WAITERS = 20
GRACE_S = 12
DELAY_S = 6


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """A service that runs; the server that has started it is stopped."""
    with LiveServer(tmp_path, "--engine", "local") as first:
        uuid = first.run_service("waited-for")
        first.stop()
        yield uuid


@pytest.mark.slow
def test_waiters_get_504_with_their_status_url_at_once_and_no_grace_is_added(service: str, tmp_path: Path) -> None:
    # A redeploy goes on as long as the server runs: it waits until its containers have run for long.
    options = ("--engine", "local", "--grace", str(GRACE_S), "--redeploy-stable", "900")
    with LiveServer(tmp_path, *options) as server, ExitStack() as stack:
        handler = server.make_handler(service)
        waiters = [stack.enter_context(Connection(server)) for _ in range(WAITERS)]
        for waiter in waiters:
            waiter.send(request("POST", f"{handler['url']}?wait=300", headers=()))
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
        assert runs(process), "they did not wait for the grace"
        wait_until(lambda: not runs(process), "the server ends", timeout_s=120)
        assert server.wait() in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 1.8 * GRACE_S, "the graces of HTTP and of the worker run at once"
        assert [connection.answer().status for connection in slow] == [503, 503]
        assert "Traceback" not in server.log
        server.start()
        for action in server.objects("/api/v1/action/"):
            if action["end_date"] is None:
                server.request("POST", f"{action['resource_uri']}cancel/")
                server.wait_for_action(action["resource_uri"])


@pytest.mark.slow
def test_a_server_that_will_stop_says_so_to_proxies_and_goes_on_for_the_delay(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--stop-delay", str(DELAY_S)) as server:
        handler = server.make_handler(str(server.create_service("quiet")["uuid"]))
        assert server.request("GET", "/readyz").status == 200
        began = time.monotonic()
        process = psutil.Process(server.pid)
        process.send_signal(signal.SIGTERM)
        answer = wait_until(lambda: _refusal(server), "the server says that it stops")
        assert answer.json["status"] == "stopping"
        assert server.post(handler["url"]).status == 202
        assert server.request("GET", "/healthz").status == 200
        wait_until(lambda: not runs(process), "the server ends", timeout_s=120)
        assert server.wait() in (0, -signal.SIGTERM)
        assert time.monotonic() - began >= DELAY_S
        server.start()


def _refusal(server: LiveServer) -> Answer | None:
    answer = server.request("GET", "/readyz")
    return answer if answer.status == 503 else None
