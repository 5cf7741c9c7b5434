"""Caddy as `deploy/proxies/Caddyfile` sets it up, in front of a server that restarts and replicas that are away."""

import threading
from pathlib import Path

import pytest

from tests.support.caddy_bed import caddy
from tests.support.documentation import blocks
from tests.support.fake_replica import replica
from tests.support.server import Answer, free_port, request
from tests.support.waiting import wait_until

HANDLER = "e5b2c1d0-1a2b-4c3d-9e4f-5a6b7c8d9e0f"
CALL = f"/api/v1/service/5a2d64f7-0f4f-4f2c-8f4a-0f6a0f1b2c3d/webhook/handler/{HANDLER}/call/"


@pytest.mark.slow
def test_a_call_waits_for_a_server_that_restarts_and_keeps_its_body(tmp_path: Path) -> None:
    web = free_port()
    answers: list[Answer] = []

    def call(port: int) -> None:
        answers.append(request(port, "POST", CALL, headers={}, body={"a": 1}))

    with caddy(tmp_path, [web], try_s=100) as port:
        wait_until(lambda: request(port, "POST", "/", headers={}).status == 503, "Caddy knows that the server is away")
        caller = threading.Thread(target=call, args=(port,))
        caller.start()
        caller.join(0.5)
        assert caller.is_alive()
        with replica(port=web) as server:
            caller.join(120)
        assert [answer.status for answer in answers] == [202]
        assert [body for _, _, body in server.got] == [b'{"a": 1}']


def test_a_call_without_a_body_to_a_replica_that_dies_goes_to_the_other_one_with_its_key(tmp_path: Path) -> None:
    with replica(responses=0) as dying, replica() as other, caddy(tmp_path, [dying.port, other.port]) as port:
        while not dying.got:
            assert request(port, "POST", CALL, headers={}).status == 202
            assert len(other.got) < 10
        assert dying.got[0] in other.got


def test_calls_pass_by_a_replica_that_is_away(tmp_path: Path) -> None:
    with replica() as alive, caddy(tmp_path, [free_port(), alive.port]) as port:
        assert {request(port, "POST", CALL, headers={}).status for _ in range(6)} == {202}


def test_a_call_over_a_connection_that_the_server_has_closed_is_sent_again_with_its_key(tmp_path: Path) -> None:
    with replica(responses=1) as server, caddy(tmp_path, [server.port]) as port:
        assert [request(port, "POST", CALL, headers={}).status for _ in range(2)] == [202, 202]
        first, *sent = (key for _, key, _ in server.got)
        assert first and first not in sent
        assert len(sent) == 2
        assert sent[0] == sent[1]


@pytest.mark.parametrize(
    ("path", "given", "key"),
    [
        (CALL, {"Idempotency-Key": "mine"}, "mine"),
        (CALL, {"X-GitHub-Delivery": "72d3162e"}, None),
        ("/api/v1/service/", {}, None),
    ],
)
def test_a_request_keeps_the_key_that_it_has(tmp_path: Path, path: str, given: dict[str, str], key: str | None) -> None:
    with replica() as server, caddy(tmp_path, [server.port]) as port:
        assert request(port, "POST", path, headers=given, body={"a": 1}).status == 202
    assert server.got == [(path, key, b'{"a": 1}')]


def test_the_path_of_a_call_that_fails_is_in_no_log(tmp_path: Path) -> None:
    with replica(responses=0) as server, caddy(tmp_path, [server.port], try_s=1) as port:
        # With a body, Caddy cannot send it again.
        assert request(port, "POST", CALL, headers={}, body={"a": 1}).status == 502
        wait_until(lambda: "serving initial configuration" in (tmp_path / "output").read_text(), "Caddy logs")
    assert HANDLER not in (tmp_path / "output").read_text()


def test_the_lines_of_the_guide_hide_everything_but_calls_and_their_status(tmp_path: Path) -> None:
    [lines] = [block.text for block in blocks("docs/how-to/run-for-real.md") if block.language == "caddy"]
    with replica() as server, caddy(tmp_path, [server.port], lines=lines) as port:

        def passes(method: str, path: str) -> bool:
            return request(port, method, path, headers={}).status != 404

        assert passes("POST", CALL)
        assert passes("POST", f"{CALL}3/")
        assert passes("GET", "/api/v1/status/00000000000000010000/")
        for path in (
            "/",
            "/readyz",
            "/metrics",
            "/api/v1/service/",
            "/api/v1/status/../service/",
            CALL.removesuffix("call/"),
        ):
            assert not passes("GET", path), path
