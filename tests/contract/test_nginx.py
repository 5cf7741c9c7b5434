"""nginx as `deploy/nginx.conf` sets it up, while no replica is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import nginx_bed
from tests.support.server import free_port, request

SERVICE, HANDLER = "5a2d64f7-0f4f-4f2c-8f4a-0f6a0f1b2c3d", "e5b2c1d0-1a2b-4c3d-9e4f-5a6b7c8d9e0f"
CALL = f"/api/v1/service/{SERVICE}/webhook/handler/{HANDLER}/call/"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with nginx_bed.nginx(tmp_path, (free_port(), free_port())) as port:
        yield port


def test_a_call_that_reaches_no_replica_may_be_tried_again_and_is_in_no_log(port: int, tmp_path: Path) -> None:
    answer = request(port, "POST", CALL, headers={})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    logged = "".join(file.read_text() for file in tmp_path.iterdir() if file.suffix == ".log" or file.name == "output")
    assert HANDLER not in logged
