"""Calls that a handler refuses are in its log, with the status and the reason, and without their content."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import LiveServer, request
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"refusing-{uuid.uuid4()}")


def refused(server: LiveServer, handler: dict[str, Any]) -> list[dict[str, Any]]:
    listed = server.request("GET", f"{handler['resource_uri']}delivery/").json["objects"]
    return [each for each in listed if each["outcome"] == "refused"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "query", "calls", "reason"),
    [
        ({"enabled": False}, "", 1, "404: disabled"),
        ({"enabled": False, "verify": {"preset": "github", "secrets": ["s"]}}, "", 2, "404: disabled"),
        ({"allow_from": ["192.0.2.0/24"]}, "", 1, "404: 127.0.0.1 is not allowed"),
        ({"max_uses": 1}, "", 2, "404: used up"),
        ({"rate_limit": "1/day"}, "", 2, "429: this handler takes 1 calls in 86400 s"),
        ({"tag": {"allow": ["v*"]}}, "?tag=x1", 1, "400: "),
    ],
    ids=["disabled", "disabled and signed", "from elsewhere", "used up", "too often", "wrong tag"],
)
def test_why_a_call_was_refused_is_in_the_log(
    live_server: LiveServer, service: str, fields: dict[str, Any], query: str, calls: int, reason: str
) -> None:
    handler = live_server.make_handler(service, **fields)
    for _ in range(calls):
        answer = live_server.post(handler["url"] + query, b"s3cret body", User_Agent="s3cret agent")
    assert answer.status == int(reason[:3]), answer
    wait_until(lambda: refused(live_server, handler), "the refused call is in the log")
    logged = refused(live_server, handler)[0]
    assert logged["reason"].startswith(reason)
    assert (logged["ip"], logged["action"], logged["action_state"]) == ("127.0.0.1", None, None)
    whole = live_server.request("GET", logged["resource_uri"]).json
    assert "s3cret" not in json.dumps(whole)


def test_a_delivery_shows_what_became_of_its_action(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service)
    assert live_server.post(f"{handler['url']}?wait=120").status == 200
    (listed,) = live_server.request("GET", f"{handler['resource_uri']}delivery/").json["objects"]
    assert (listed["outcome"], listed["action_state"], listed["action_reason"]) == ("queued", "Success", "")


def test_json_ends_with_a_line_end(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service)
    unknown = handler["url"].replace(handler["uuid"], str(uuid.uuid4()))
    answers = [
        live_server.request("GET", "/healthz"),
        live_server.request("GET", handler["resource_uri"]),
        live_server.request("GET", "/api/v1/nothing/"),
        live_server.post(handler["url"]),
        live_server.post(f"{handler['url']}?wait=120"),
        live_server.post(unknown),
    ]
    assert [answer.status for answer in answers] == [200, 200, 404, 202, 200, 404]
    for answer in answers:
        assert answer.body.endswith(b"}\n"), answer
        assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.slow
def test_without_a_dashboard_a_browser_gets_words_and_a_program_a_404(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--dashboard", "off") as server:
        page = request(server.port, "GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<h1>tutumd</h1>" in page.body
        assert server.request("GET", "/", authorization=None).status == 404
