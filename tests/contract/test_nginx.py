"""nginx as `deploy/proxies/nginx.conf` sets it up, in front of replicas that are away, hang or refuse."""

import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import nginx_bed
from tests.support.fake_replica import replica
from tests.support.server import free_port, request
from tests.support.waiting import wait_until

SERVICE, HANDLER = "5a2d64f7-0f4f-4f2c-8f4a-0f6a0f1b2c3d", "e5b2c1d0-1a2b-4c3d-9e4f-5a6b7c8d9e0f"
GUIDE = Path(__file__).parents[2] / "docs/how-to/proxy.md"
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


def call_until(port: int, is_seen: Callable[[], object], path: str = CALL) -> list[int]:
    """Call until a replica has seen it: nginx takes turns. Returns the statuses."""
    statuses: list[int] = []
    while not is_seen():
        assert len(statuses) < 10
        statuses.append(request(port, "POST", path, headers={}, body={"a": 1}).status)
    return statuses


@pytest.mark.slow
def test_a_call_to_a_replica_that_hangs_goes_to_the_other_one_with_its_key(tmp_path: Path) -> None:
    with (
        replica(is_open=False) as hanging,
        replica() as other,
        nginx_bed.nginx(tmp_path, (hanging.port, other.port)) as port,
    ):
        assert set(call_until(port, lambda: hanging.got)) == {202}
        assert hanging.got[0] in other.got


@pytest.mark.slow
@pytest.mark.parametrize(("is_open", "text"), [(True, "nothing was changed"), (False, "look whether this was done")])
def test_a_call_that_no_replica_takes_is_told_whether_it_may_be_stored(
    tmp_path: Path, is_open: bool, text: str
) -> None:
    with (
        replica(503, is_open=is_open) as first,
        replica(503) as second,
        nginx_bed.nginx(tmp_path, (first.port, second.port)) as port,
    ):
        while not first.got or first.got[0] not in second.got:  # nginx takes turns
            answer = request(port, "POST", CALL, headers={})
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert len(second.got) < 10
        first.gate.set()
    assert text in answer.json["error"]


@pytest.mark.slow
@pytest.mark.parametrize(("query", "header"), [("?wait=60", {}), ("", {"Prefer": "wait=60"})])
def test_a_call_that_waits_for_its_action_is_not_cut_short(tmp_path: Path, query: str, header: dict[str, str]) -> None:
    with (
        replica(200, is_open=False) as first,
        replica(200, is_open=False) as second,
        nginx_bed.nginx(tmp_path, (first.port, second.port), call_timeout_s=1) as port,
        socket.create_connection(("127.0.0.1", port), timeout=120) as waiting,
    ):
        lines = [f"POST {CALL}{query} HTTP/1.1", "Host: x", "Content-Length: 2", "Connection: close"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in header.items())])
        waiting.sendall(f"{head}\r\n\r\nhi".encode())
        wait_until(lambda: first.got or second.got, "the call is with a replica")
        waiting.settimeout(2.5)  # longer than a call without `wait` may take on both replicas
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        assert len(first.got + second.got) == 1
        first.gate.set()
        second.gate.set()
        waiting.settimeout(120)
        assert waiting.recv(12) == b"HTTP/1.1 200"
    (got,) = first.got + second.got
    assert got[0] == f"{CALL}{query}"
    assert got[2] == b"hi"


@pytest.mark.parametrize(("method", "path"), [("GET", "/account/"), ("POST", CALL), ("POST", f"{CALL}?wait=60")])
def test_no_client_names_its_user(tmp_path: Path, method: str, path: str) -> None:
    named = {"X-Forwarded-User": "admin", "Remote-User": "admin", "X-Other": "here"}
    with replica() as web, nginx_bed.nginx(tmp_path, (web.port, web.port)) as port:
        request(port, method, path, headers=named)
    assert web.headers[-1] & {name.lower() for name in named} == {"x-other"}


def is_limited(port: int, path: str) -> bool:
    return request(port, "POST", path, headers={}).status == 429


def test_the_limit_of_the_guide_also_holds_for_calls_that_wait(tmp_path: Path) -> None:
    zone, *limits = re.findall(r"^(limit_req.*?;)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    config = nginx_bed.CONFIG.read_text(encoding="utf-8").replace("upstream tutumd {", f"{zone}\nupstream tutumd {{")
    for location in ("call(/|$) {", "location @waiting {"):
        assert config.count(location) == 1
        config = config.replace(location, "\n".join([location, *limits]))
    with (
        replica() as first,
        replica() as second,
        nginx_bed.nginx(tmp_path, (first.port, second.port), config=config) as port,
    ):
        for path in (CALL, f"{CALL}?wait=60"):
            wait_until(partial(is_limited, port, path), "calls are limited")
