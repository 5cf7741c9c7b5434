"""A server whose disk is full: calls are refused, it says so and why, and it goes on by itself."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.databases import SqliteDisk, small_disk
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

BODY = b"x" * 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SqliteDisk]:
    with small_disk(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_a_full_disk_is_seen_told_and_survived(disk: SqliteDisk, tmp_path: Path) -> None:
    server = LiveServer(tmp_path, "--engine", "local")
    with server:
        service = str(server.create_service("web")["uuid"])
        handlers = f"/api/v1/service/{service}/webhook/handler/"
        (handler,) = server.request("POST", handlers, [{"operation": "SCALEUP"}]).json
        path = f"{handlers}{handler['uuid']}/call/"
        wait_until(lambda: server.request("GET", "/readyz").json["status"] == "ready", "the server is ready")
        assert server.post(path).status == 202
        began = time.monotonic()
        disk.fill()
        wait_until(lambda: server.post(path, BODY).status == 503, "calls are refused")
        answer = server.request("GET", "/readyz")
        assert (answer.status, answer.json["status"], answer.json["database"]) == (503, "down", "unavailable")
        assert [server.post(path, BODY).status for _ in range(50)] == [503] * 50
        lines = [line for line in server.log.splitlines() if "database" in line]
        told = sum("its disk is full: free some space (database or disk is full)" in line for line in lines)
        minutes = 1 + int((time.monotonic() - began) / 60)
        assert 1 <= told <= 2 * minutes, "edge and worker tell it once a minute each"
        assert len(lines) <= 4 * minutes, lines
        disk.free()
        wait_until(lambda: server.request("GET", "/readyz").status == 200, "the server takes calls again by itself")
        assert server.post(path, BODY).status == 202
        assert "calls can be stored again" in server.log
