"""nginx as `deploy/nginx.conf` sets it up, while no replica is there."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import nginx_bed
from tests.support.server import free_port

SERVICE, HANDLER = "5a2d64f7-0f4f-4f2c-8f4a-0f6a0f1b2c3d", "e5b2c1d0-1a2b-4c3d-9e4f-5a6b7c8d9e0f"
CALL = f"/api/v1/service/{SERVICE}/webhook/handler/{HANDLER}/call/"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with nginx_bed.nginx(tmp_path, (free_port(), free_port())) as port:
        yield port


def post(port: int, path: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


def test_a_call_that_reaches_no_replica_may_be_tried_again(port: int) -> None:
    assert post(port, CALL) == (503, "1")


def test_a_call_that_reaches_no_replica_is_in_no_log(port: int, tmp_path: Path) -> None:
    assert post(port, CALL) == (503, "1")
    logged = "".join(file.read_text() for file in tmp_path.iterdir() if file.suffix == ".log" or file.name == "output")
    assert HANDLER not in logged
