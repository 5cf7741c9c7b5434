"""A server whose PostgreSQL accepts connections and never answers: it refuses calls, says so, and goes on by itself."""

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.postgres_bed import PostgresBed
from tests.support.server import Answer, LiveServer
from tests.support.waiting import wait_until
from tutumd.web.call.batches import MAX_STALL_S

pytestmark = pytest.mark.slow

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PATH = f"/api/v1/service/{UNKNOWN}/webhook/handler/{UNKNOWN}/call/"


def timed(server: LiveServer) -> tuple[float, Answer]:
    began = time.monotonic()
    answer = server.post(PATH)
    return time.monotonic() - began, answer


def test_calls_are_refused_at_once_while_the_database_hangs(postgres_bed: PostgresBed, tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--database", postgres_bed.new_database()) as server:
        assert timed(server)[1].status == 404
        postgres_bed.send_to_all(signal.SIGSTOP)
        try:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", server.port)) as hanging:
                hanging.sendall(head)
                took_s, behind = timed(server)
                assert (behind.status, behind.json["error"].partition(";")[2]) == (
                    503,
                    " nothing was changed, try again",
                )
                assert took_s < 6 * MAX_STALL_S, "it waited no longer than for a stall, and this hangs for ever"
                later = [timed(server) for _ in range(3)]
                assert {answer.status for _, answer in later} == {503}
                assert min(took_s for took_s, _ in later) < MAX_STALL_S / 2, "none waits for a stall of its own"
                assert server.request("GET", "/readyz", authorization=None).status == 503
                assert server.request("GET", "/healthz", authorization=None).status == 200
        finally:
            postgres_bed.send_to_all(signal.SIGCONT)
        wait_until(lambda: server.request("GET", "/readyz").status == 200, "the server takes calls again by itself")
        assert timed(server)[1].status == 404
